package email_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/email"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/pool"
)

func client(timeout time.Duration) *notify.Client {
	guard := notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	return notify.NewClient(notify.ClientConfig{Guard: guard, Timeout: timeout})
}

func notifier(t *testing.T, s *server, change func(*email.Config)) *email.Notifier {
	t.Helper()
	c := config(s, client(20*time.Second))
	if change != nil {
		change(&c)
	}
	n, err := email.New(c)
	require.NoError(t, err)
	return n
}

// The mails of an incident are a thread, whoever sends them, and nothing is remembered for it.
func TestThread(t *testing.T) {
	t.Parallel()
	s := (&server{mechanisms: "PLAIN"}).start(t)
	for _, m := range []notify.Message{notifytest.Firing(), notifytest.Update(), notifytest.Resolved(), notifytest.Firing()} {
		require.NoError(t, notifier(t, s, nil).Notify(t.Context(), m)) // each by a notifier of its own, as if the daemon had been started again
	}
	var mails []letter
	for _, e := range s.received() {
		mails = append(mails, parse(t, e))
	}
	require.Len(t, mails, 4)
	first := mails[0].header.Get("Message-Id")
	require.Regexp(t, `^<[a-z0-9.]+@berth\.example>$`, first)
	require.Empty(t, mails[0].header.Get("In-Reply-To"))
	require.Equal(t, "HighCPU", mails[0].subject)
	for _, m := range mails[1:3] {
		require.Equal(t, first, m.header.Get("In-Reply-To"))
		require.Equal(t, first, m.header.Get("References"))
		require.NotEqual(t, first, m.header.Get("Message-Id"))
		require.Equal(t, "Re: HighCPU", m.subject)
	}
	require.NotEqual(t, mails[1].header.Get("Message-Id"), mails[2].header.Get("Message-Id"))
	require.Equal(t, s.received()[0].mail, s.received()[3].mail, "sent again it is the same mail")

	other := notifytest.Firing()
	other.Receiver = "managers"
	require.NoError(t, notifier(t, s, nil).Notify(t.Context(), other))
	require.NotEqual(t, first, parse(t, s.received()[4]).header.Get("Message-Id"), "two receivers' mails may end up in one mailbox")

	require.NoError(t, notifier(t, s, nil).Notify(t.Context(), notifytest.Event()))
	event := notifytest.Event()
	event.Key = "k9-e1"
	require.NoError(t, notifier(t, s, nil).Notify(t.Context(), event))
	one, two := parse(t, s.received()[5]), parse(t, s.received()[6])
	require.NotEqual(t, one.header.Get("Message-Id"), two.header.Get("Message-Id"))
	require.Equal(t, one.header.Get("References"), two.header.Get("References"))
	require.Equal(t, "Host kvm-7 is lost", one.subject)
}

func TestWhatAMailSays(t *testing.T) {
	t.Parallel()
	s := (&server{mechanisms: "PLAIN"}).start(t)
	m := notifytest.Update()
	m.GroupLabels = map[string]string{"alertname": "Überlast", "vm": "=?utf-8?q?=E2=80=AEx?=", "zone": strings.Repeat(" ", 100) + "ü"}
	m.Firing[1].By = "Ana <b>"
	a := m.Firing[0]
	a.Ends = m.At
	m.Resolved, m.FiringMore = []notify.Alert{a}, 3
	require.NoError(t, notifier(t, s, func(c *email.Config) { c.ReplyTo = "Desk <desk@berth.example>" }).Notify(t.Context(), m))
	e := s.received()[0]
	require.Equal(t, "alerts@berth.example", e.from)
	require.Equal(t, []string{"ops@berth.example", "umit@berth.example"}, e.to)
	require.Equal(t, "[127.0.0.1]", e.hello)
	l := parse(t, e)
	require.Equal(t, `Re: Überlast vm="= ?utf-8?q?=E2=80=AEx?=", zone=" ü"`, l.subject)
	for name, want := range map[string]string{
		"Date": "Fri, 01 May 2026 12:05:00 +0000", "Auto-Submitted": "auto-generated", "List-Id": "<alerts.berth.example>", "From": `"Berth" <alerts@berth.example>`,
		"To": "<ops@berth.example>, =?utf-8?q?=C3=9Cmit?= <umit@berth.example>", "Reply-To": `"Desk" <desk@berth.example>`,
		"X-Berthage-Status": "firing", "X-Berthage-Severity": "critical", "X-Berthage-Incident": "i-91ab07",
	} {
		require.Equal(t, want, l.header.Get(name), name)
	}
	require.Equal(t, "[FIRING:5] HighCPU: CPU of web-1 above 80 %\n\n"+
		"firing 2026-05-01 12:00 UTC: CPU of web-1 above 80 % (value 93.5)\n"+
		"firing 2026-05-01 12:00 UTC: CPU of web-2 above 80 % (value 93.5) (acknowledged by Ana <b>)\n"+
		"resolved 2026-05-01 12:05 UTC: CPU of web-1 above 80 % (value 93.5)\n"+
		"and 3 more\n\n"+
		"All of it: https://berth.example/alerts/91ab07\n", l.text)
	require.Equal(t, [][]string{
		{"State", "Alert", "Value", "Since", "Until"},
		{"firing", "CPU of web-1 above 80 %", "93.5", "2026-05-01 12:00 UTC", ""},
		{"firing", "CPU of web-2 above 80 % (acknowledged by Ana <b>)", "93.5", "2026-05-01 12:00 UTC", ""},
		{"resolved", "CPU of web-1 above 80 %", "93.5", "2026-05-01 12:00 UTC", "2026-05-01 12:05 UTC"},
	}, l.rows())
	require.Contains(t, l.html, `<a href="https://berth.example/alerts/91ab07">All of it</a>`)
	require.Contains(t, l.html, "and 3 more that fire")
}

// A storm is one mail, with every alert of it.
func TestStorm(t *testing.T) {
	t.Parallel()
	s := (&server{mechanisms: "PLAIN"}).start(t)
	m := notifytest.Firing()
	m.Firing = nil
	for i := range 600 {
		a := notifytest.Firing().Firing[0]
		a.Annotations = map[string]string{"summary": fmt.Sprintf("CPU of web-%d above 80 %%, which is %s", i, strings.Repeat("much ", 50))}
		m.Firing = append(m.Firing, a)
	}
	require.NoError(t, notifier(t, s, nil).Notify(t.Context(), m))
	l := parse(t, s.received()[0])
	lines, rows := strings.Split(l.text, "\n"), l.rows()
	require.Len(t, rows, 601)
	for i := range 600 {
		require.Contains(t, lines[2+i], fmt.Sprintf("CPU of web-%d above", i))
		require.Contains(t, rows[1+i][1], fmt.Sprintf("CPU of web-%d above", i))
	}

	// What is beyond all measure is cut, and the mail arrives.
	for i := range m.Firing {
		m.Firing[i].Annotations = map[string]string{"summary": strings.Repeat("💥<", 5000)}
		m.Firing[i].Value, m.Firing[i].By = strings.Repeat("&", 5000), strings.Repeat("'", 5000)
	}
	require.NoError(t, notifier(t, s, nil).Notify(t.Context(), m))
	e := s.received()[1]
	require.Less(t, len(e.mail), 7_000_000)
	l = parse(t, e)
	require.Contains(t, l.text, "[FIRING:600]")
	shown := len(l.rows()) - 1
	require.Greater(t, shown, 100)
	require.Contains(t, l.html, fmt.Sprintf("and %d more that fire", 600-shown))
	require.Contains(t, l.text, fmt.Sprintf("and %d more\n", 600-shown))

	event := notifytest.Event()
	event.Event.Text = strings.Repeat("<语>\n", 500_000)
	require.NoError(t, notifier(t, s, nil).Notify(t.Context(), event))
	e = s.received()[2]
	require.Less(t, len(e.mail), 7_000_000)
	l = parse(t, e)
	for _, part := range []string{l.text, l.html} {
		require.Contains(t, part, "Host kvm-7 is lost")
		require.Contains(t, part, "语")
		require.Contains(t, part, notify.Mark)
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	text := func(s string) *notify.Template {
		out, err := notify.ParseText(s, nil)
		require.NoError(t, err)
		return out
	}
	html, err := notify.ParseHTML(`<p>{{.Status}}: {{.GroupKey}}</p>`)
	require.NoError(t, err)
	s := (&server{mechanisms: "PLAIN"}).start(t)
	m := notifytest.Firing()
	m.GroupKey = "a\r\nBcc: x <b>\u202e"
	look := email.Look{Subject: text("{{.Severity}} {{.GroupKey}}"), Text: text("It is {{.Status}}: {{.GroupKey}}"), HTML: html}
	require.NoError(t, notifier(t, s, func(c *email.Config) { c.Look = look }).Notify(t.Context(), m))
	l := parse(t, s.received()[0])
	require.Equal(t, "critical a Bcc: x <b>\ufffd", l.subject)
	require.Equal(t, "It is firing: a\nBcc: x <b>\ufffd", l.text)
	require.Equal(t, "<p>firing: a\nBcc: x &lt;b&gt;\ufffd</p>", l.html)

	broken := text("{{index .Firing 7}}")
	look = email.Look{Subject: broken, Text: broken, HTML: text("{{if false}}x{{end}}")}
	require.NoError(t, notifier(t, s, func(c *email.Config) { c.Look = look }).Notify(t.Context(), m))
	l = parse(t, s.received()[1])
	require.Equal(t, "HighCPU", l.subject)
	require.Contains(t, l.text, "CPU of web-1")
	require.Contains(t, l.html, "CPU of web-1")
}

func TestTextMessage(t *testing.T) {
	t.Parallel()
	s := (&server{mechanisms: "PLAIN"}).start(t)
	n := notifier(t, s, func(c *email.Config) { c.To, c.SMS = []string{"15551230000@sms.example"}, new(email.SMS) })
	m := notifytest.Firing()
	m.FiringMore = 599
	require.NoError(t, n.Notify(t.Context(), m))
	l := parse(t, s.received()[0])
	require.Empty(t, l.header["Subject"])
	require.Equal(t, "8bit", l.header.Get("Content-Transfer-Encoding"))
	require.Equal(t, "[FIRING:600] HighCPU: CPU of web-1 above 80 %\nhttps://berth.example/alerts/91ab07\n", l.text)

	n = notifier(t, s, func(c *email.Config) { c.SMS = &email.SMS{Most: 30, Subject: "Berth"} })
	m.Link, m.Labels["alertname"] = "", "Überlast überall"
	require.NoError(t, n.Notify(t.Context(), m))
	l = parse(t, s.received()[1])
	require.Equal(t, "Berth", l.subject)
	require.Equal(t, "quoted-printable", l.header.Get("Content-Transfer-Encoding"))
	require.Equal(t, "[FIRING:600] Überlast überall…", strings.TrimSpace(l.text))
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	for mechanisms, also := range map[string]func(*server){
		"PLAIN":                     nil,
		"LOGIN":                     nil,
		"SCRAM-SHA-256":             nil,
		"PLAIN LOGIN SCRAM-SHA-256": func(s *server) { s.play = never("AUTH", "PLAIN") },
		"NTLM LOGIN PLAIN":          func(s *server) { s.play = never("AUTH", "LOGIN") },
	} {
		for _, implicit := range []bool{false, true} {
			s := &server{mechanisms: mechanisms, implicit: implicit}
			if also != nil {
				also(s)
			}
			s.start(t)
			n := notifier(t, s, func(c *email.Config) {
				if implicit {
					c.Security = email.Implicit
				}
			})
			require.NoError(t, n.Notify(t.Context(), notifytest.Firing()), mechanisms)
			require.Equal(t, password, s.received()[0].password)
			require.NotContains(t, s.inClear(), "MAIL")
		}
	}
	// Without a user's name there is none, and nobody is asked for any.
	s := (&server{mechanisms: "-"}).start(t)
	n := notifier(t, s, func(c *email.Config) { c.Username, c.Password = "", notify.Secret{} })
	require.NoError(t, n.Notify(t.Context(), notifytest.Firing()))

	// A relay on this machine.
	s = (&server{mechanisms: "PLAIN", plain: true}).start(t)
	n = notifier(t, s, func(c *email.Config) { c.Security, c.Hello = email.InsecureLoopback, "berth.example" })
	require.NoError(t, n.Notify(t.Context(), notifytest.Firing()))
	require.Equal(t, "berth.example", s.received()[0].hello)
}

// never is an answer to what must not be asked.
func never(verb, argument string) func(string, string) string {
	return func(v, a string) string {
		if v == verb && strings.HasPrefix(a, argument) {
			return "500 never"
		}
		return ""
	}
}

// answer is what is said to a verb.
func answer(verb, with string) func(*server) {
	return func(s *server) {
		s.play = func(v, _ string) string {
			if v == verb {
				return with
			}
			return ""
		}
	}
}

// echo refuses a password by repeating it as it was sent.
func echo(s *server) {
	s.play = func(verb, argument string) string {
		if verb == "AUTH" {
			return "535 " + argument
		}
		return ""
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("250-"+strings.Repeat("x", 1000)+"\r\n", 3000)
	for name, c := range map[string]struct {
		server func(*server)
		change func(*email.Config)
		kind   error
		status int
		maybe  bool
		says   string
	}{
		"the greeting refuses":       {server: answer("CONNECT", "554 no service"), kind: notify.ErrBroken, status: 554, says: "no service"},
		"the greeting is busy":       {server: answer("CONNECT", "421 later"), kind: notify.ErrTemporary, status: 421},
		"no greeting":                {server: answer("CONNECT", "close"), kind: notify.ErrTemporary},
		"another protocol":           {server: answer("CONNECT", "HTTP/1.1 400 Bad Request"), kind: notify.ErrBroken},
		"an endless greeting":        {server: answer("CONNECT", long), kind: notify.ErrTemporary, says: "does not end"},
		"a greeting without lines":   {server: answer("CONNECT", "220 "+strings.Repeat("x", 3<<20)), kind: notify.ErrTemporary, says: "does not end"},
		"a greeting never":           {server: answer("CONNECT", "hang"), kind: notify.ErrTemporary, says: "no answer in time"},
		"hello is refused":           {server: answer("EHLO", "550 who?"), kind: notify.ErrBroken},
		"busy at hello":              {server: answer("EHLO", "421 later"), kind: notify.ErrTemporary},
		"no encryption":              {server: func(s *server) { s.plain = true }, kind: notify.ErrBroken, says: "does not offer"},
		"encryption is refused":      {server: answer("STARTTLS", "502 no"), kind: notify.ErrBroken, status: 502},
		"no encryption for now":      {server: answer("STARTTLS", "454 not now"), kind: notify.ErrTemporary, status: 454},
		"encryption is not begun":    {server: answer("STARTTLS", "220 go\r\n250-AUTH PLAIN\r\n250 forged"), kind: notify.ErrBroken},
		"another's certificate":      {server: func(s *server) { s.name = "other.example" }, kind: notify.ErrBroken, says: "x509"},
		"an expired certificate":     {server: func(s *server) { s.expired = true }, kind: notify.ErrBroken, says: "expired"},
		"a stranger's certificate":   {server: func(*server) {}, change: func(c *email.Config) { c.RootCAs = nil }, kind: notify.ErrBroken, says: "x509"},
		"implicit, and it is not":    {server: func(*server) {}, change: func(c *email.Config) { c.Security = email.Implicit }, kind: notify.ErrBroken},
		"a wrong password":           {server: func(*server) {}, change: func(c *email.Config) { c.Password = notify.NewSecret("wrong-canary") }, kind: notify.ErrBroken, status: 535, says: "not with [secret]"},
		"a wrong password, LOGIN":    {server: func(s *server) { s.mechanisms = "LOGIN" }, change: func(c *email.Config) { c.Password = notify.NewSecret("wrong-canary") }, kind: notify.ErrBroken, status: 535},
		"a wrong password, SCRAM":    {server: func(s *server) { s.mechanisms = "SCRAM-SHA-256" }, change: func(c *email.Config) { c.Password = notify.NewSecret("wrong-canary") }, kind: notify.ErrBroken, status: 535},
		"what was said, repeated":    {server: echo, kind: notify.ErrBroken, status: 535, says: "PLAIN [secret]"},
		"another name":               {server: func(*server) {}, change: func(c *email.Config) { c.Server = strings.Replace(c.Server, "127.0.0.1", "localhost", 1) }, kind: notify.ErrBroken, says: "x509"},
		"no passwords for now":       {server: answer("AUTH", "454 later"), kind: notify.ErrTemporary, status: 454},
		"no mechanism":               {server: func(s *server) { s.mechanisms = "GSSAPI" }, kind: notify.ErrBroken, says: "neither"},
		"no authentication":          {server: func(s *server) { s.mechanisms = "-" }, kind: notify.ErrBroken, says: "neither"},
		"a server that cannot prove": {server: func(s *server) { s.mechanisms, s.liar = "SCRAM-SHA-256", true }, kind: notify.ErrBroken, says: "signature"},
		"a server that has us count": {server: func(s *server) { s.mechanisms, s.iterations = "SCRAM-SHA-256", 2_000_000_000 }, kind: notify.ErrBroken, says: "iterations"},
		"credentials are asked for":  {server: answer("MAIL", "530 who are you"), kind: notify.ErrBroken, status: 530},
		"the sender is refused":      {server: answer("MAIL", "553 not you"), kind: notify.ErrBroken, status: 553},
		"the sender, for now":        {server: answer("MAIL", "452 full"), kind: notify.ErrTemporary, status: 452},
		"everyone is refused":        {server: answer("RCPT", "550 nobody"), kind: notify.ErrBroken, status: 550},
		"everyone is, for now":       {server: answer("RCPT", "450 greylisted"), kind: notify.ErrTemporary, status: 450},
		"gone at the recipients":     {server: answer("RCPT", "close"), kind: notify.ErrTemporary},
		"data is refused":            {server: answer("DATA", "554 no"), kind: notify.ErrPermanent, status: 554},
		"data is, for now":           {server: answer("DATA", "451 no"), kind: notify.ErrTemporary, status: 451},
		"nonsense at data":           {server: answer("DATA", "??"), kind: notify.ErrTemporary},
		"the mail is refused":        {server: answer("END", "550 spam"), kind: notify.ErrPermanent, status: 550, says: "spam"},
		"the mail is, for now":       {server: answer("END", "452 full"), kind: notify.ErrTemporary, status: 452},
		"credentials at the end":     {server: answer("END", "535 no"), kind: notify.ErrBroken, status: 535},
		"gone at the end":            {server: answer("END", "close"), kind: notify.ErrTemporary, maybe: true},
		"silent at the end":          {server: answer("END", "hang"), kind: notify.ErrTemporary, maybe: true, says: "no answer in time"},
		"nonsense at the end":        {server: answer("END", "nonsense"), kind: notify.ErrTemporary, maybe: true},
		"endless at the end":         {server: answer("END", long), kind: notify.ErrTemporary, maybe: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &server{mechanisms: "PLAIN"}
			c.server(s)
			s.start(t)
			n := notifier(t, s, func(f *email.Config) {
				f.Client = client(2 * time.Second)
				if c.change != nil {
					c.change(f)
				}
			})
			began := time.Now()
			err := n.Notify(t.Context(), notifytest.Firing())
			var e *notify.Error
			require.ErrorAs(t, err, &e)
			require.ErrorIs(t, err, c.kind)
			if c.status != 0 {
				require.Equal(t, c.status, e.Status, err)
			}
			require.Equal(t, c.maybe, e.Maybe, err)
			require.Contains(t, err.Error(), c.says)
			require.Less(t, time.Since(began), 15*time.Second)
			require.Equal(t, 1, s.connections(), "it does not try again by itself")
			for _, secret := range []string{password, "canary"} {
				require.NotContains(t, err.Error(), secret)
				require.NotContains(t, err.Error(), base64.StdEncoding.EncodeToString([]byte(secret)))
			}
			require.NotContains(t, s.inClear(), "AUTH P", "no password goes in the clear")
			require.NotContains(t, s.inClear(), "MAIL", "no mail goes in the clear")
		})
	}
}

// Who is not refused gets the mail, and once.
func TestSomeAreRefused(t *testing.T) {
	t.Parallel()
	for _, with := range []string{"550 nobody", "450 later"} {
		s := &server{mechanisms: "PLAIN"}
		s.play = func(verb, argument string) string {
			if verb == "RCPT" && strings.Contains(argument, "umit") {
				return with
			}
			return ""
		}
		s.start(t)
		err := notifier(t, s, nil).Notify(t.Context(), notifytest.Firing())
		require.ErrorIs(t, err, notify.ErrPermanent)
		require.ErrorContains(t, err, "1 of 2 addresses are refused, the others have the mail")
		require.Len(t, s.received(), 1)
	}
	// Of reasons to refuse everyone that which may pass is what counts.
	s := &server{mechanisms: "PLAIN"}
	s.play = func(verb, argument string) string {
		switch {
		case verb == "RCPT" && strings.Contains(argument, "umit"):
			return "450 later"
		case verb == "RCPT":
			return "550 nobody"
		}
		return ""
	}
	s.start(t)
	require.ErrorIs(t, notifier(t, s, nil).Notify(t.Context(), notifytest.Firing()), notify.ErrTemporary)
	require.Empty(t, s.received())
}

func TestWhomItMayCall(t *testing.T) {
	t.Parallel()
	s := (&server{mechanisms: "PLAIN"}).start(t)
	for _, c := range []*notify.Client{nil, notify.NewClient(notify.ClientConfig{})} {
		err := notifier(t, s, func(f *email.Config) { f.Client = c }).Notify(t.Context(), notifytest.Firing())
		require.ErrorIs(t, err, notify.ErrForbidden)
		require.ErrorIs(t, err, notify.ErrBroken)
	}
	require.Zero(t, s.connections())
}

// A relay that is not on this machine is never talked to in the clear, whatever the Guard allows.
func TestInsecureIsForLoopback(t *testing.T) {
	t.Parallel()
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	var own netip.Addr
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			own = p.Addr()
		}
	}
	if !own.IsValid() {
		t.Skip("needs an address that is not of the loopback interface")
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(own, 0).String())
	require.NoError(t, err)
	defer l.Close()
	heard := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "220 mail.example ESMTP\r\n")
		b, _ := io.ReadAll(conn)
		heard <- string(b)
	}()
	c := config(&server{address: l.Addr().String()}, nil)
	c.Security = email.InsecureLoopback
	c.Client = notify.NewClient(notify.ClientConfig{Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}, Timeout: 5 * time.Second})
	n, err := email.New(c)
	require.NoError(t, err)
	require.ErrorIs(t, n.Notify(t.Context(), notifytest.Firing()), notify.ErrBroken)
	require.Empty(t, <-heard)
}

func TestCancelledAnywhere(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "END"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			s := &server{mechanisms: "PLAIN"}
			s.play = func(v, _ string) string {
				if v == verb {
					cancel(errEnough)
					return "hang"
				}
				return ""
			}
			s.start(t)
			began := time.Now()
			err := notifier(t, s, nil).Notify(ctx, notifytest.Firing())
			require.ErrorIs(t, err, errEnough)
			require.ErrorIs(t, err, notify.ErrTemporary)
			require.Less(t, time.Since(began), 10*time.Second)
			var e *notify.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, verb == "END", e.Maybe)
		})
	}
}

var errEnough = errors.New("enough")

// A server that has the mail and does not say farewell keeps nobody waiting.
func TestFarewell(t *testing.T) {
	t.Parallel()
	s := &server{mechanisms: "PLAIN"}
	answer("QUIT", "hang")(s)
	s.start(t)
	began := time.Now()
	require.NoError(t, notifier(t, s, nil).Notify(t.Context(), notifytest.Firing()))
	require.Less(t, time.Since(began), 10*time.Second)
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	good := config(&server{address: "smtp.example:587"}, nil)
	_, err := email.New(good)
	require.NoError(t, err)
	for name, change := range map[string]func(*email.Config){
		"server":               func(c *email.Config) { c.Server = "" },
		"server 2":             func(c *email.Config) { c.Server = "smtp.example:0" },
		"server 3":             func(c *email.Config) { c.Server = "smtp.example:smtp" },
		"server 4":             func(c *email.Config) { c.Server = "user@smtp.example" },
		"security":             func(c *email.Config) { c.Security = "none" },
		"hello":                func(c *email.Config) { c.Hello = "a b" },
		"list_id":              func(c *email.Config) { c.ListID = "a>\r\nBcc: x@y" },
		"username":             func(c *email.Config) { c.Username = "a\x00b" },
		"password":             func(c *email.Config) { c.Password = notify.NewSecret("canary\r\nQUIT") },
		"password 2":           func(c *email.Config) { c.Password = notify.Secret{} },
		"password 3":           func(c *email.Config) { c.Username = "" },
		"from":                 func(c *email.Config) { c.From = "alerts" },
		"from 2":               func(c *email.Config) { c.From = "\"a b\"@berth.example" },
		"to":                   func(c *email.Config) { c.To = nil },
		"to 2":                 func(c *email.Config) { c.To = []string{"ops@berth.example", ""} },
		"to 3":                 func(c *email.Config) { c.To = []string{"ops@berth.example, all@berth.example"} },
		"to 4":                 func(c *email.Config) { c.To = []string{"ops@berth.example>\r\nRCPT TO:<all@berth.example"} },
		"to 5":                 func(c *email.Config) { c.To = []string{"=?utf-8?q?a=0D=0ABcc:?= <ops@berth.example>"} },
		"to 6":                 func(c *email.Config) { c.To = []string{"öps@berth.example"} },
		"reply_to":             func(c *email.Config) { c.ReplyTo = "x" },
		"sms.most":             func(c *email.Config) { c.SMS = &email.SMS{Most: 5} },
		"sms.most of too many": func(c *email.Config) { c.SMS = &email.SMS{Most: 5000} },
	} {
		c := good
		change(&c)
		_, err := email.New(c)
		var e *pool.Error
		require.ErrorAs(t, err, &e, name)
		field, _, _ := strings.Cut(name, " ")
		require.Equal(t, field, e.Field)
		require.NotContains(t, err.Error(), "canary")
	}
}
