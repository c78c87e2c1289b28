package email

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail/smtp"

	"github.com/berthage/berthage/notify"
)

// step is where a conversation with a server is.
type step struct {
	name    string
	refused error // what a refusal for good means here
	sent    bool  // the mail has gone out as a whole
}

// conversation is one with a server about one mail.
type conversation struct {
	*Notifier
	ctx  context.Context
	conn net.Conn
	smtp *smtp.Client
	at   step
}

// send sends a mail to everyone.
func (n *Notifier) send(ctx context.Context, mail []byte) error {
	conn, err := n.c.Client.Dial(ctx, "email: connect", n.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	t := &conversation{Notifier: n, ctx: ctx, conn: conn}
	if n.c.Security == InsecureLoopback && !isLoopback(conn.RemoteAddr()) {
		return &notify.Error{Op: "email: connect", Kind: notify.ErrBroken, Detail: "the server is not on the loopback interface, and would be talked to without encryption"}
	}
	var refused []*notify.Error
	for _, act := range []func() error{
		t.greet, t.encrypt, t.authenticate,
		func() (err error) { refused, err = t.envelope(); return err },
		func() error { return t.data(mail) },
	} {
		if err := act(); err != nil {
			return t.failed(err)
		}
	}
	// The server has the mail: what becomes of the connection does not matter, and nobody waits for its farewell.
	_, _ = t.smtp.Text.Cmd("QUIT")
	if len(refused) > 0 {
		return &notify.Error{
			Op: refused[0].Op, Kind: notify.ErrPermanent, Status: refused[0].Status,
			Detail: fmt.Sprintf("%d of %d addresses are refused, the others have the mail: %s", len(refused), len(n.to), refused[0].Detail),
		}
	}
	return nil
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func (t *conversation) greet() (err error) {
	conn := t.conn
	if t.c.Security == Implicit {
		t.at = step{name: "tls", refused: notify.ErrBroken}
		secure := tls.Client(conn, t.tls())
		if err := secure.HandshakeContext(t.ctx); err != nil {
			return err
		}
		conn = secure
	}
	t.at = step{name: "greeting", refused: notify.ErrBroken}
	if t.smtp, err = smtp.NewClient(conn, t.host); err != nil {
		return err
	}
	t.smtp.SkipSMTPUTF8(true) // nothing in a mail needs it, and who asks for it is not sent on by servers without it
	t.at.name = "hello"
	hello := t.c.Hello
	if hello == "" {
		hello = literal(conn.LocalAddr())
	}
	return t.smtp.Hello(hello)
}

// literal is an address in the form in which it stands for a name (RFC 5321, section 4.1.3).
func literal(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	switch {
	case !ok:
		return "localhost"
	case tcp.IP.To4() != nil:
		return "[" + tcp.IP.String() + "]"
	}
	return "[IPv6:" + tcp.IP.String() + "]"
}

func (t *conversation) tls() *tls.Config {
	return &tls.Config{ServerName: t.host, RootCAs: t.c.RootCAs, MinVersion: tls.VersionTLS12}
}

func (t *conversation) encrypt() error {
	if t.c.Security != StartTLS {
		return nil
	}
	t.at.name = "starttls"
	if ok, _ := t.smtp.Extension("STARTTLS"); !ok {
		return errors.New("the server does not offer it")
	}
	return t.smtp.StartTLS(t.tls())
}

func (t *conversation) authenticate() error {
	if t.c.Username == "" {
		return nil
	}
	t.at.name = "authenticate"
	_, offered := t.smtp.Extension("AUTH")
	mechanisms := strings.Fields(strings.ToUpper(offered))
	user, password, plainly := t.c.Username, t.c.Password.Reveal(), t.c.Security == InsecureLoopback
	for _, m := range []struct {
		name string
		auth smtp.Auth
	}{
		{"SCRAM-SHA-256", bounded{smtp.ScramSHA256Auth(user, password)}},
		{"SCRAM-SHA-1", bounded{smtp.ScramSHA1Auth(user, password)}},
		{"PLAIN", smtp.PlainAuth("", user, password, t.host, plainly)},
		{"LOGIN", smtp.LoginAuth(user, password, t.host, plainly)},
	} {
		if slices.Contains(mechanisms, m.name) {
			return t.smtp.Auth(m.auth)
		}
	}
	return errors.New("the server offers neither SCRAM-SHA-256, SCRAM-SHA-1, PLAIN nor LOGIN")
}

// bounded is SCRAM with a server that cannot make us count for hours (RFC 5802, section 9: i is what the server asks for).
type bounded struct{ smtp.Auth }

func (b bounded) Next(challenge []byte, more bool) ([]byte, error) {
	for part := range bytes.SplitSeq(challenge, []byte(",")) {
		if n, ok := strings.CutPrefix(string(part), "i="); ok {
			if i, err := strconv.Atoi(n); err != nil || i < 1 || i > 1_000_000 {
				return nil, errors.New("the server asks for more than 1,000,000 iterations")
			}
		}
	}
	return b.Auth.Next(challenge, more)
}

// envelope names the sender and everyone to be told, and returns what is said of those that are refused, if not all are.
func (t *conversation) envelope() (refused []*notify.Error, err error) {
	t.at.name = "sender"
	if err := t.smtp.Mail("<" + t.from.Address + ">"); err != nil {
		return nil, err
	}
	t.at.name = "recipient"
	var worth error // what is worth trying again is said before what is not
	for _, to := range t.to {
		err := t.smtp.Rcpt("<" + to.Address + ">")
		if err == nil {
			continue
		}
		e := t.failed(err)
		if e.Status == 0 { // it did not answer
			return nil, err
		}
		if refused = append(refused, e); worth == nil || errors.Is(e, notify.ErrTemporary) {
			worth = err
		}
	}
	if len(refused) == len(t.to) {
		return nil, worth
	}
	return refused, nil
}

func (t *conversation) data(mail []byte) error {
	t.at = step{name: "data", refused: notify.ErrPermanent}
	w, err := t.smtp.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(mail); err != nil {
		return err
	}
	t.at.sent = true
	return w.Close()
}

// failed says what an error means where it happened. Nothing of it is passed on but what is known to have no secret in it.
func (t *conversation) failed(err error) *notify.Error {
	out := &notify.Error{Op: "email: " + t.at.name, Kind: notify.ErrTemporary, Maybe: t.at.sent}
	var reply *textproto.Error
	var timeout net.Error
	switch {
	case errors.As(err, &reply):
		out.Status, out.Detail, out.Maybe = reply.Code, t.excerpt(reply.Msg), false
		switch {
		case slices.Contains([]int{530, 534, 535, 538}, reply.Code): // RFC 4954: credentials are asked for, or not accepted
			out.Kind = notify.ErrBroken
		case reply.Code >= 500:
			out.Kind = t.at.refused
		case reply.Code < 400:
			out.Maybe = t.at.sent
		}
	case t.ctx.Err() != nil:
		out.Cause = context.Cause(t.ctx)
	case errors.As(err, &timeout) && timeout.Timeout():
		out.Detail = "no answer in time"
	case isInterrupted(err), t.at.sent:
		out.Detail = t.excerpt(err.Error())
	default:
		// A certificate, a mechanism, a server that does not prove that it knows the password, an answer that is not SMTP.
		var certificate *tls.CertificateVerificationError
		if errors.As(err, &certificate) {
			err = certificate.Err // without words before it, as there is room for 60 characters
		}
		if out.Detail = t.excerpt(err.Error()); errors.Is(t.at.refused, notify.ErrBroken) {
			out.Kind = notify.ErrBroken
		}
	}
	return out
}

// isInterrupted tells what happens to a connection from what is said on it.
func isInterrupted(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op != "remote error" && op.Op != "local error" // which are alerts of TLS
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, notify.ErrAnswer) || errors.Is(err, net.ErrClosed)
}

// excerpt returns what can be shown of what the server says, which may repeat what it was told.
func (t *conversation) excerpt(s string) string {
	password := t.c.Password.Reveal()
	secrets := []notify.Secret{t.c.Password}
	for _, told := range []string{"\x00" + t.c.Username + "\x00" + password, password} {
		secrets = append(secrets, notify.NewSecret(base64.StdEncoding.EncodeToString([]byte(told))))
	}
	if password == "" {
		secrets = nil
	}
	return notify.Excerpt(s, secrets...)
}
