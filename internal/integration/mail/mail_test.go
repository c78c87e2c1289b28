package mail_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/email"
	"github.com/berthage/berthage/notify/notifytest"
)

const user, password = "berth", "canäry/7"

// certificate is one of 127.0.0.1, in the forms in which servers and clients want it.
type certificate struct {
	pem, key []byte
	pair     tls.Certificate
	roots    *x509.CertPool
}

func newCertificate(t *testing.T) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	c := certificate{
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), roots: x509.NewCertPool(),
	}
	require.True(t, c.roots.AppendCertsFromPEM(c.pem))
	c.pair, err = tls.X509KeyPair(c.pem, c.key)
	require.NoError(t, err)
	return c
}

// letter is a mail as it is read.
type letter struct {
	header              mail.Header
	subject, text, html string
}

func parse(t *testing.T, raw []byte) letter {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	require.NoError(t, err)
	l := letter{header: m.Header}
	l.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	for {
		p, err := parts.NextPart() // which decodes
		if err == io.EOF {
			return l
		}
		require.NoError(t, err)
		b, err := io.ReadAll(p)
		require.NoError(t, err)
		s := strings.ReplaceAll(string(b), "\r\n", "\n")
		switch kind := p.Header.Get("Content-Type"); kind {
		case "text/plain; charset=UTF-8":
			l.text = s
		case "text/html; charset=UTF-8":
			l.html = s
		default:
			require.Fail(t, "a part of another kind", kind)
		}
	}
}

// office is a server with a mailbox.
type office struct {
	config func(change func(*email.Config)) email.Config // of one who may send
	mails  func(n int) [][]byte                          // as soon as so many have arrived since it was asked last
}

func (o office) send(t *testing.T, m notify.Message, change func(*email.Config)) error {
	t.Helper()
	c := o.config(change)
	guard := notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	c.Client = notify.NewClient(notify.ClientConfig{Guard: guard, Timeout: time.Minute})
	n, err := email.New(c)
	require.NoError(t, err)
	return n.Notify(t.Context(), m)
}

// letsIn judges how a server is reached, and that the mails of an incident arrive as a thread.
func (o office) letsIn(t *testing.T) {
	t.Helper()
	t.Run("a thread", func(t *testing.T) {
		byKey := make(map[string]letter)
		for _, m := range []notify.Message{notifytest.Firing(), notifytest.Update(), notifytest.Resolved()} {
			require.NoError(t, o.send(t, m, nil))
			l := parse(t, o.mails(1)[0])
			byKey[m.Key] = l
			require.Contains(t, l.text, "CPU of web-1 above 80 %")
			require.Contains(t, l.html, "CPU of web-1 above 80 %")
			require.Equal(t, m.Status(), l.header.Get("X-Berthage-Status"))
			require.Equal(t, "auto-generated", l.header.Get("Auto-Submitted"))
			require.Equal(t, []string{"Fri, 01 May 2026 12:05:00 +0000", "Fri, 01 May 2026 13:05:00 +0000"}[m.Generation/3], l.header.Get("Date"))
		}
		first := byKey[notifytest.Firing().Key]
		require.Equal(t, "HighCPU", first.subject)
		for _, key := range []string{notifytest.Update().Key, notifytest.Resolved().Key} {
			require.Equal(t, first.header.Get("Message-Id"), byKey[key].header.Get("In-Reply-To"))
			require.Equal(t, first.header.Get("Message-Id"), byKey[key].header.Get("References"))
			require.Equal(t, "Re: HighCPU", byKey[key].subject)
		}
		require.NoError(t, o.send(t, notifytest.Firing(), nil))
		require.Equal(t, first.header.Get("Message-Id"), parse(t, o.mails(1)[0]).header.Get("Message-Id"), "sent again it is the same")
	})
	t.Run("a wrong password", func(t *testing.T) {
		err := o.send(t, notifytest.Firing(), func(c *email.Config) { c.Password = notify.NewSecret("another") })
		var e *notify.Error
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, notify.ErrBroken)
		require.Equal(t, 535, e.Status, err)
		require.NotContains(t, err.Error(), "another")
	})
	t.Run("no password", func(t *testing.T) {
		err := o.send(t, notifytest.Firing(), func(c *email.Config) { c.Username, c.Password = "", notify.Secret{} })
		require.ErrorIs(t, err, notify.ErrBroken)
	})
	t.Run("a certificate of nobody known", func(t *testing.T) {
		err := o.send(t, notifytest.Firing(), func(c *email.Config) { c.RootCAs = nil })
		require.ErrorIs(t, err, notify.ErrBroken)
		require.ErrorContains(t, err, "x509")
	})
	t.Run("another's certificate", func(t *testing.T) {
		err := o.send(t, notifytest.Firing(), func(c *email.Config) { c.Server = strings.Replace(c.Server, "127.0.0.1", "localhost", 1) })
		require.ErrorIs(t, err, notify.ErrBroken)
		require.ErrorContains(t, err, "x509")
	})
}

// takes judges what a server makes of mails that are out of the ordinary.
func (o office) takes(t *testing.T) {
	t.Helper()
	t.Run("a storm", func(t *testing.T) {
		m := notifytest.Firing()
		m.Firing = nil
		for i := range 600 {
			a := notifytest.Firing().Firing[0]
			a.Annotations = map[string]string{"summary": fmt.Sprintf("Übung: CPU of web-%d above 80 %%", i)}
			m.Firing = append(m.Firing, a)
		}
		require.NoError(t, o.send(t, m, nil))
		l := parse(t, o.mails(1)[0])
		require.Equal(t, 600, strings.Count(l.text, "Übung: CPU of web-"))
		require.Equal(t, 600, strings.Count(l.html, "Übung: CPU of web-"))
		for i := range m.Firing {
			m.Firing[i].Annotations = map[string]string{"summary": strings.Repeat("💥<", 5000)}
		}
		require.NoError(t, o.send(t, m, nil))
		require.Contains(t, parse(t, o.mails(1)[0]).text, "[FIRING:600]")
	})
	t.Run("hostile texts", func(t *testing.T) {
		for _, h := range notifytest.Hostile() {
			messages := notifytest.HostileMessages(h)
			for _, m := range messages {
				m.GroupLabels = map[string]string{"alertname": h, "vm": h}
				require.NoError(t, o.send(t, m, nil))
			}
			for _, raw := range o.mails(len(messages)) {
				l := parse(t, raw)
				for _, name := range []string{"Subject", "Message-Id", "From", "To", "Date"} {
					require.Len(t, l.header[name], 1)
				}
				require.Empty(t, l.header["Bcc"])
				for _, s := range []string{l.subject, l.text, html.UnescapeString(l.html)} {
					require.False(t, strings.ContainsFunc(s, func(r rune) bool {
						return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
					}))
				}
				require.NotContains(t, l.html, "<script")
			}
		}
	})
	t.Run("one address that is none", func(t *testing.T) {
		err := o.send(t, notifytest.Firing(), func(c *email.Config) { c.To = append(c.To, "ops@elsewhere.example") })
		require.ErrorIs(t, err, notify.ErrPermanent)
		require.ErrorContains(t, err, "1 of 2 addresses")
		require.Len(t, o.mails(1), 1)
		err = o.send(t, notifytest.Firing(), func(c *email.Config) { c.To = []string{"ops@elsewhere.example"} })
		require.ErrorIs(t, err, notify.ErrBroken)
	})
}
