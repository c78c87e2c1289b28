package email_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// server is an SMTP server with STARTTLS and AUTH that does as it is told.
type server struct {
	name       string // in its certificate; empty: 127.0.0.1
	expired    bool
	implicit   bool
	mechanisms string // that it offers once the connection is encrypted; "-": none
	plain      bool   // offers them without encryption, and no STARTTLS
	iterations int    // of SCRAM; 0: 4,096
	liar       bool   // of SCRAM: does not know the password

	// play says what is answered to a verb instead of what would be right, END being what ends a mail, and CONNECT the beginning. "": what is
	// right; "close": the connection ends; "hang": nothing.
	play func(verb, argument string) string
	// take answers a mail; nil: all are taken.
	take func(envelope) string

	address string
	roots   *x509.CertPool
	cert    tls.Certificate

	mu    sync.Mutex
	mails []envelope
	clear strings.Builder // what was said before the connection was encrypted
	conns int
}

// envelope is a mail as it came.
type envelope struct {
	user, password, hello, from string
	to                          []string
	mail                        []byte
}

const user, password = "berth", "canary+pässword/7"

// start makes the server listen until the test ends.
func (s *server) start(t testing.TB) *server {
	t.Helper()
	s.cert, s.roots = certificate(t, s.name, s.expired)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.address = l.Addr().String()
	done, wg := make(chan struct{}), new(sync.WaitGroup)
	t.Cleanup(func() {
		close(done)
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				ended := make(chan struct{})
				wg.Go(func() {
					select {
					case <-done:
					case <-ended:
					}
					_ = conn.Close()
				})
				defer close(ended)
				s.mu.Lock()
				s.conns++
				s.mu.Unlock()
				(&session{server: s, conn: conn, done: done}).run()
			})
		}
	})
	return s
}

func certificate(t testing.TB, name string, expired bool) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	if expired {
		c.NotAfter = now.Add(-time.Hour)
	}
	if name == "" {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	} else {
		c.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func (s *server) received() []envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]envelope(nil), s.mails...)
}

func (s *server) inClear() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clear.String()
}

func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// session is one connection.
type session struct {
	*server
	conn   net.Conn
	done   <-chan struct{}
	r      *bufio.Reader
	secure bool
	envelope
}

// say answers, and reports whether the conversation goes on.
func (s *session) say(verb, argument, right string) bool {
	if s.play != nil {
		if other := s.play(verb, argument); other != "" {
			right = other
		}
	}
	switch right {
	case "close":
		return false
	case "hang":
		<-s.done
		return false
	}
	_, err := io.WriteString(s.conn, right+"\r\n")
	return err == nil && !strings.HasPrefix(right, "421")
}

func (s *session) line() (string, bool) {
	l, err := s.r.ReadString('\n')
	if !s.secure {
		s.mu.Lock()
		s.clear.WriteString(l)
		s.mu.Unlock()
	}
	return strings.TrimRight(l, "\r\n"), err == nil
}

func (s *session) encrypt() {
	s.conn = tls.Server(s.conn, &tls.Config{Certificates: []tls.Certificate{s.cert}})
	s.r, s.secure = bufio.NewReader(s.conn), true
}

func (s *session) run() {
	if s.r = bufio.NewReader(s.conn); s.implicit {
		s.encrypt()
	}
	if !s.say("CONNECT", "", "220 mail.example ESMTP") {
		return
	}
	for {
		l, ok := s.line()
		if !ok {
			return
		}
		verb, argument, _ := strings.Cut(l, " ")
		if verb = strings.ToUpper(verb); !s.do(verb, argument) {
			return
		}
	}
}

func (s *session) do(verb, argument string) bool {
	switch verb {
	case "EHLO", "HELO":
		s.hello = argument
		offer := []string{"mail.example", "8BITMIME", "SMTPUTF8"}
		if !s.secure && !s.plain {
			offer = append(offer, "STARTTLS")
		} else if s.mechanisms != "-" {
			offer = append(offer, strings.TrimSpace("AUTH "+s.mechanisms))
		}
		for i := range offer[:len(offer)-1] {
			offer[i] = "250-" + offer[i]
		}
		offer[len(offer)-1] = "250 " + offer[len(offer)-1]
		return s.say(verb, argument, strings.Join(offer, "\r\n"))
	case "STARTTLS":
		if !s.say(verb, "", "220 go ahead") {
			return false
		}
		if s.play == nil || s.play(verb, "") == "" {
			s.encrypt()
		}
		return true
	case "AUTH":
		answer, ok := s.authenticate(argument)
		return ok && s.say(verb, argument, answer)
	case "MAIL":
		from, extensions, _ := strings.Cut(strings.TrimPrefix(argument, "FROM:"), " ")
		s.from, s.to = strings.Trim(from, "<>"), nil
		if strings.Contains(extensions, "SMTPUTF8") {
			return s.say(verb, argument, "501 not asked for")
		}
		return s.say(verb, argument, "250 ok")
	case "RCPT":
		s.to = append(s.to, strings.Trim(strings.TrimPrefix(argument, "TO:"), "<>"))
		return s.say(verb, argument, "250 ok")
	case "DATA":
		if s.play != nil && s.play(verb, "") != "" {
			return s.say(verb, "", "")
		}
		return s.say(verb, "", "354 go ahead") && s.end()
	case "QUIT":
		s.say(verb, "", "221 bye")
		return false
	case "*":
		return s.say(verb, "", "501 as you like")
	}
	return s.say(verb, argument, "500 what?")
}

// end reads a mail, byte for byte: a line that does not end with CRLF is not one.
func (s *session) end() bool {
	var b bytes.Buffer
	for {
		l, err := s.r.ReadString('\n')
		if err != nil {
			return false
		}
		if l == ".\r\n" {
			break
		}
		b.WriteString(strings.TrimPrefix(l, "."))
	}
	s.mail = b.Bytes()
	answer := "250 taken"
	if s.take != nil {
		answer = s.take(s.envelope)
	}
	if strings.HasPrefix(answer, "250") {
		s.server.mu.Lock()
		s.mails = append(s.mails, s.envelope)
		s.server.mu.Unlock()
	}
	return s.say("END", "", answer)
}

// ask sends a challenge and reads what is answered.
func (s *session) ask(challenge string) (string, bool) {
	if _, err := io.WriteString(s.conn, "334 "+base64.StdEncoding.EncodeToString([]byte(challenge))+"\r\n"); err != nil {
		return "", false
	}
	l, ok := s.line()
	b, err := base64.StdEncoding.DecodeString(l)
	return string(b), ok && err == nil
}

func (s *session) authenticate(argument string) (string, bool) {
	mechanism, initial, _ := strings.Cut(argument, " ")
	switch mechanism {
	case "PLAIN":
		b, _ := base64.StdEncoding.DecodeString(initial)
		if parts := strings.Split(string(b), "\x00"); len(parts) == 3 {
			s.envelope.user, s.envelope.password = parts[1], parts[2]
		}
	case "LOGIN":
		var ok, also bool
		s.envelope.user, ok = s.ask("Username:")
		s.envelope.password, also = s.ask("Password:")
		if !ok || !also {
			return "", false
		}
	case "SCRAM-SHA-256":
		if !s.scram() {
			return "535 no", true
		}
		s.envelope.user, s.envelope.password = user, password
	default:
		return "504 unknown", true
	}
	if s.envelope.password != password {
		return "535 not with " + s.envelope.password, true
	}
	return "235 welcome", true
}

// scram is the server's side of RFC 7677.
func (s *session) scram() bool {
	first, ok := s.ask("")
	if !ok || !strings.HasPrefix(first, "n,,") {
		return false
	}
	bare := strings.TrimPrefix(first, "n,,")
	_, nonce, _ := strings.Cut(bare, ",r=")
	iterations, known := s.iterations, password
	if iterations == 0 {
		iterations = 4096
	}
	if s.liar {
		known = "another"
	}
	salt := []byte("salt of the earth")
	challenge := fmt.Sprintf("r=%sserver,s=%s,i=%d", nonce, base64.StdEncoding.EncodeToString(salt), iterations)
	final, ok := s.ask(challenge)
	if !ok {
		return false
	}
	without, proof, _ := strings.Cut(final, ",p=")
	salted, err := pbkdf2.Key(sha256.New, known, salt, min(iterations, 10_000), 32)
	if err != nil {
		return false
	}
	sum := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	auth := bare + "," + challenge + "," + without
	key := sum(salted, "Client Key")
	stored := sha256.Sum256(key)
	want := sum(stored[:], auth)
	for i := range want {
		want[i] ^= key[i]
	}
	if !s.liar && proof != base64.StdEncoding.EncodeToString(want) {
		return false
	}
	_, ok = s.ask("v=" + base64.StdEncoding.EncodeToString(sum(sum(salted, "Server Key"), auth)))
	return ok
}
