// Package email tells people by mail (RFC 5321, 5322 and 2045 to 2047), and by text message where a gateway makes one of a mail.
//
// A mail lists every alert of its message, as plain text and as a table in HTML. The mails of an incident are a thread: the Message-ID of the first
// one follows from Incident and the receiver's name, that of a later one, or of an event, from its Key, and References names the first. So
// nothing has to be remembered, and a mail that is sent again because its answer was lost has the same Message-ID, by which many mail systems
// show it once. The subject is made of what the group is made by, which stays the same, as some programs make threads of subjects; what has become
// of it is the first line of the text.
//
// The connection is encrypted by STARTTLS, and the server's certificate is that of its name, or nothing is sent (RFC 3207, 8314). A password goes
// by SCRAM-SHA-256, SCRAM-SHA-1, PLAIN or LOGIN, the first of these that the server offers. Besides what a status says to every
// receiver, a server that refuses before it has seen anything of the mail, the greeting, the password, the sender or all addresses, makes the receiver
// notify.ErrBroken, as it would refuse every other mail. If it refuses some of the addresses, the others get the mail and the error is
// notify.ErrPermanent: sending it again would tell those again. Whom others must not keep from being told is a receiver of their own.
//
// Names and texts are shown as they are; programs that read mail make links of what looks like one. Limits that are kept: 200 characters of subject, 500 of
// an alert, and as many alerts as make a mail of at most 7 MB; how many there are more is said.
package email

import (
	"cmp"
	"context"
	"crypto/x509"
	_ "embed"
	"net"
	netmail "net/mail"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/notify"
)

// Security is how the connection to the server is protected.
type Security string

// There are three kinds.
const (
	StartTLS Security = "starttls" // begins in plain text and is encrypted before anything is said; no Security at all means this
	Implicit Security = "tls"      // encrypted from the beginning
	// InsecureLoopback is not encrypted. It is for a relay on the same machine: any other address is refused.
	InsecureLoopback Security = "insecure-loopback"
)

// Config says whom to tell, and by which server.
type Config struct {
	Server   string         // "smtp.example.com", or with a port; without it is 587, with Implicit 465, with InsecureLoopback 25
	Security Security       // empty: StartTLS
	RootCAs  *x509.CertPool // who may have signed the server's certificate; nil: whom the system trusts
	Username string         // empty: no authentication
	Password notify.Secret
	Hello    string // by which name the server is greeted; empty: by the address of the connection

	From    string   // "Berth <alerts@example.com>"
	To      []string // likewise; everyone sees everyone
	ReplyTo string   // empty: From
	ListID  string   // of the header List-Id, by which filters sort: "alerts.example.com"; empty: there is none

	Look Look
	SMS  *SMS // a gateway makes text messages of the mails, which are short and plain; nil: ordinary mails

	// Client dials. A server that looks into mails takes its time to answer, and one that it has taken is sent again if the answer comes too late:
	// it should have a Timeout of a minute. Nil: one that has, and reaches the public Internet only.
	Client *notify.Client
}

// Look says how mails look. A template that fails, or makes nothing, is as if there were none: a mistake in one keeps no alert from arriving.
type Look struct {
	Subject *notify.Template // parsed by notify.ParseText; what changes in it breaks threads. Nil: what the group is made by
	Text    *notify.Template // parsed by notify.ParseText; nil: a line for each alert
	HTML    *notify.Template // parsed by notify.ParseHTML; nil: a table
}

// SMS says how a mail becomes a text message.
type SMS struct {
	Most    int    // UTF-16 code units of it, 20 to 1600; 0: 160
	Subject string // empty: there is none
}

// MaxSubject, MaxSummary and MaxValue are the most characters of a subject, of what is said of an alert, and of its value.
const (
	MaxSubject = 200
	MaxSummary = 500
	MaxValue   = 100
)

//go:embed mail.html
var table string

// Notifier implements notify.Notifier.
type Notifier struct {
	c       Config
	host    string // of the server, which its certificate has to name
	address string
	from    *netmail.Address
	to      []*netmail.Address
	replyTo *netmail.Address // nil: there is none
	domain  string           // of the sender
	table   *notify.Template
}

// New checks the configuration and sends nothing. Errors are pool.ErrInvalid.
func New(c Config) (*Notifier, error) {
	ports := map[Security]int{StartTLS: 587, Implicit: 465, InsecureLoopback: 25}
	c.Security = cmp.Or(c.Security, StartTLS)
	n := &Notifier{host: c.Server}
	port := ports[c.Security]
	if host, s, err := net.SplitHostPort(c.Server); err == nil {
		number, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return nil, notify.Invalid("server", "a port of 1 to 65535")
		}
		n.host, port = host, int(number)
	}
	n.address = net.JoinHostPort(n.host, strconv.Itoa(port))
	domain := regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
	switch {
	case ports[c.Security] == 0:
		return nil, notify.Invalid("security", `"starttls", "tls" or "insecure-loopback"`)
	case !domain.MatchString(n.host) && net.ParseIP(n.host) == nil || port == 0:
		return nil, notify.Invalid("server", "a name or an address, and a port if it is an unusual one")
	case c.Hello != "" && !domain.MatchString(c.Hello):
		return nil, notify.Invalid("hello", "a name such as berth.example.com")
	case c.ListID != "" && !domain.MatchString(c.ListID):
		return nil, notify.Invalid("list_id", "a name such as alerts.example.com")
	case strings.ContainsFunc(c.Username, isControl) || len(c.Username) > 255:
		return nil, notify.Invalid("username", "at most 255 bytes without control characters")
	case strings.ContainsFunc(c.Password.Reveal(), isControl) || len(c.Password.Reveal()) > 255:
		return nil, notify.Invalid("password", "at most 255 bytes without control characters")
	case c.Username == "" != c.Password.Empty():
		return nil, notify.Invalid("password", "one with a username, none without")
	case len(c.To) == 0 || len(c.To) > 100:
		return nil, notify.Invalid("to", "1 to 100 addresses")
	}
	if c.SMS != nil {
		sms := *c.SMS
		if sms.Most = cmp.Or(sms.Most, 160); sms.Most < 20 || sms.Most > 1600 {
			return nil, notify.Invalid("sms.most", "20 to 1600")
		}
		c.SMS = &sms
	}
	var err error
	if n.from, err = address("from", c.From); err != nil {
		return nil, err
	}
	_, n.domain, _ = strings.Cut(n.from.Address, "@")
	for _, s := range c.To {
		to, err := address("to", s)
		if err != nil {
			return nil, err
		}
		n.to = append(n.to, to)
	}
	if c.ReplyTo != "" {
		if n.replyTo, err = address("reply_to", c.ReplyTo); err != nil {
			return nil, err
		}
	}
	if n.table, err = notify.ParseHTML(table); err != nil {
		return nil, err
	}
	if c.Client == nil {
		c.Client = notify.NewClient(notify.ClientConfig{Timeout: time.Minute})
	}
	n.c = c
	return n, nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// address reads "name@example.com" or "A Name <name@example.com>". What an address may be beyond that, quoted parts and letters that not
// every server takes, is refused: it would go into commands as it is.
func address(field, s string) (*netmail.Address, error) {
	plain := regexp.MustCompile("^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")
	a, err := netmail.ParseAddress(s)
	if err != nil || !plain.MatchString(a.Address) || a.Name != notify.Line(a.Name) || len(a.Name) > 200 {
		return nil, notify.Invalid(field, "an address such as ops@example.com or Ops <ops@example.com>")
	}
	return a, nil
}

// Notify implements notify.Notifier.
func (n *Notifier) Notify(ctx context.Context, m notify.Message) error {
	if err := m.Check(); err != nil || m.Moot() {
		return err
	}
	mail, err := n.write(m)
	if err != nil {
		return &notify.Error{Op: "email: write", Kind: notify.ErrPermanent, Detail: "the message cannot be written as a mail"}
	}
	return n.send(ctx, mail)
}
