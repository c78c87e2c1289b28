package mail_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/email"
)

// box is the backend of a server of go-smtp: who knows the password may send to berth.example.
type box struct {
	mu    sync.Mutex
	mails [][]byte
}

func (b *box) NewSession(*smtp.Conn) (smtp.Session, error) { return &visitor{box: b}, nil }

type visitor struct {
	*box
	known bool
}

func (*visitor) AuthMechanisms() []string { return []string{sasl.Plain} }

func (v *visitor) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, u, p string) error {
		if u != user || p != password {
			return smtp.ErrAuthFailed
		}
		v.known = true
		return nil
	}), nil
}

func (v *visitor) Mail(string, *smtp.MailOptions) error {
	if !v.known {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (*visitor) Rcpt(to string, _ *smtp.RcptOptions) error {
	if !strings.HasSuffix(to, "@berth.example") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "nobody here"}
	}
	return nil
}

func (v *visitor) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mails = append(v.mails, b)
	return nil
}

func (*visitor) Reset()        {}
func (*visitor) Logout() error { return nil }

func TestGoSMTP(t *testing.T) {
	t.Parallel()
	c := newCertificate(t)
	for _, security := range []email.Security{email.StartTLS, email.Implicit} {
		t.Run(string(security), func(t *testing.T) {
			t.Parallel()
			o := goSMTP(t, c, security)
			o.letsIn(t)
			o.takes(t)
		})
	}
}

// goSMTP starts a server of go-smtp.
func goSMTP(t *testing.T, c certificate, security email.Security) office {
	t.Helper()
	b := new(box)
	s := smtp.NewServer(b)
	s.Domain, s.MaxMessageBytes, s.MaxLineLength = "mail.example", 10_240_000, 1000
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{c.pair}}
	s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
	s.ErrorLog = discard{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	if security == email.Implicit {
		l = tls.NewListener(l, s.TLSConfig)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		if err := <-done; !errors.Is(err, smtp.ErrServerClosed) {
			require.NoError(t, err)
		}
	})
	read := 0
	return office{
		config: func(change func(*email.Config)) email.Config {
			out := email.Config{
				Server: address, Security: security, RootCAs: c.roots, Username: user, Password: notify.NewSecret(password),
				From: "Berth <alerts@berth.example>", To: []string{"ops@berth.example"},
			}
			if change != nil {
				change(&out)
			}
			return out
		},
		mails: func(n int) [][]byte { // what is sent is there
			b.mu.Lock()
			defer b.mu.Unlock()
			require.Len(t, b.mails, read+n)
			out := b.mails[read:]
			read += n
			return out
		},
	}
}

// discard is for what a server says of handshakes that are refused on purpose.
type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}
