package receivers_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/receivers"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// service takes down what it is asked, and answers as all services at once.
type service struct {
	*httptest.Server
	mu   sync.Mutex
	said strings.Builder
}

func newService(t *testing.T) *service {
	t.Helper()
	s := new(service)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		s.mu.Lock()
		fmt.Fprintln(&s.said, r.Method, r.URL, r.Header, user, password, string(b))
		issues := ""
		if strings.Contains(s.said.String(), `"issuetype"`) {
			issues = `{"id": "1", "key": "OPS-1", "fields": {"status": {"statusCategory": {"key": "new"}}}}`
		}
		s.mu.Unlock()
		switch {
		case strings.HasSuffix(r.URL.Path, "/enqueue"):
			w.WriteHeader(http.StatusAccepted)
		case strings.HasPrefix(r.URL.Path, "/services/"):
			fmt.Fprint(w, "ok")
			return
		}
		fmt.Fprint(w, `{"ok": true, "ts": "1.2", "channel": "C0123456789", "issues": [`+issues+`], "transitions": [{"id": "55", "name": "Done"}], "id": "1", "key": "OPS-1", "sid": "SM1", "status": "queued", "result": {"message_id": 7}}`)
	}))
	t.Cleanup(s.Close)
	return s
}

// mail is a mail server that takes down what it is told. It returns where it is and who has signed its certificate: itself.
func (s *service) mail(t *testing.T) (address, ca string) {
	t.Helper()
	tlsServer := httptest.NewUnstartedServer(nil)
	tlsServer.StartTLS() // for its certificate, which is that of 127.0.0.1
	t.Cleanup(tlsServer.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", tlsServer.TLS)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.speak(conn)
		}
	}()
	pem := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tlsServer.Certificate().Raw})
	return l.Addr().String(), string(pem)
}

// speak is one conversation, with AUTH PLAIN and without anything else.
func (s *service) speak(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in, data := bufio.NewReader(conn), false
	fmt.Fprint(conn, "220 mail.example ESMTP\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		said := line
		if auth, ok := strings.CutPrefix(line, "AUTH PLAIN "); ok {
			b, _ := base64.StdEncoding.DecodeString(auth)
			said = string(b)
		}
		s.mu.Lock()
		fmt.Fprintln(&s.said, said)
		s.mu.Unlock()
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); {
		case data && line == ".":
			data = false
			fmt.Fprint(conn, "250 taken\r\n")
		case data:
		case verb == "EHLO":
			fmt.Fprint(conn, "250-mail.example\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n")
		case verb == "AUTH":
			fmt.Fprint(conn, "235 welcome\r\n")
		case verb == "DATA":
			data = true
			fmt.Fprint(conn, "354 go on\r\n")
		case verb == "QUIT":
			fmt.Fprint(conn, "221 bye\r\n")
			return
		default:
			fmt.Fprint(conn, "250 ok\r\n")
		}
	}
}

func (s *service) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

func local() *receivers.Maker {
	return &receivers.Maker{Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
}

func message() notify.Message {
	return notify.Message{
		Key: "k1", Incident: "i1", Receiver: "ops", First: true, Labels: map[string]string{"alertname": "HighCPU"},
		Firing: []notify.Alert{{Labels: map[string]string{"alertname": "HighCPU", "vm": "web-1"}, Value: "81.5"}},
	}
}

// secrets reads them as the API does.
func secrets(t *testing.T, text string) receivers.Secrets {
	t.Helper()
	var out receivers.Secrets
	require.NoError(t, json.Unmarshal([]byte(text), &out))
	return out
}

const signing = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// all has a receiver of each type in which every field is given; %s stands for where the service is. said is what of it must arrive there.
func all() map[string]struct {
	settings, secrets string
	said              []string
} {
	type one = struct {
		settings, secrets string
		said              []string
	}
	return map[string]one{
		"discord": {`{}`, `{"url": "%s/api/webhooks/1/canary"}`, []string{"/api/webhooks/1/canary"}},
		"email": {
			`{"server": "%m", "security": "tls", "ca": "%c", "username": "berth", "hello": "berth.example", "from": "Berth <alerts@from.example>", "to": ["ops@to.example", "dev@to.example"],
				"reply_to": "answers@reply.example", "list_id": "list.example", "subject": "about {{.Labels.alertname}}", "text": "plain on {{(index .Firing 0).Labels.vm}}", "html": "<b>rich on {{(index .Firing 0).Labels.vm}}</b>"}`,
			`{"password": "canary"}`, []string{"EHLO berth.example", "\x00berth\x00canary", "MAIL FROM:<alerts@from.example>", "RCPT TO:<ops@to.example>", "RCPT TO:<dev@to.example>", "answers@reply.example", "<list.example>", "about HighCPU", "plain on web-1", "<b>rich on web-1</b>"},
		},
		"email-sms": {
			`{"server": "%m", "security": "tls", "ca": "%c", "username": "berth", "hello": "berth.example", "from": "alerts@from.example", "to": ["123@gateway.example"], "most": 20, "subject": "code-7"}`,
			`{"password": "canary"}`, []string{"EHLO berth.example", "RCPT TO:<123@gateway.example>", "Subject: code-7", "\x00berth\x00canary", "[FIRING:1] HighCPU"},
		},
		"jira": {
			`{"url": "%s", "cloud": true, "user": "me@jira.example", "project": "OPS", "issue_type": "Incident", "labels": ["night"], "resolve": "Done", "reopen": "Reopen", "reopen_within": "24h"}`,
			`{"token": "canary"}`, []string{"/rest/api/3/", "me@jira.example canary", `"OPS"`, "Incident", "night", "resolutiondate", "1440", `"id":"55"`},
		},
		"pagerduty":     {`{"source": "our-pool", "endpoint": "%s"}`, `{"routing_key": "0123456789abcdef0123456789abcdef", "webhook_secret": ["for the way back"]}`, []string{"0123456789abcdef0123456789abcdef", "our-pool"}},
		"shoutrrr":      {`{"most": 20}`, `{"url": "ntfy://:canary@%h/ops?scheme=http"}`, []string{"/ops", "canary", "HighCPU"}},
		"slack":         {`{"channel": "C0123456789", "template": "{{range .Firing}}on {{.Labels.vm}}{{end}}", "endpoint": "%s"}`, `{"token": "xoxb-canary", "signing_secret": "canary"}`, []string{"chat.postMessage", `"action_id":"acknowledge"`, "C0123456789", "Bearer xoxb-canary", "on web-1"}},
		"slack-webhook": {`{"template": "{{range .Firing}}on {{.Labels.vm}}{{end}}"}`, `{"url": "%s/services/canary", "signing_secret": "canary"}`, []string{"/services/canary", `"action_id":"acknowledge"`, "on web-1"}},
		"teams":         {`{}`, `{"url": "%s/workflows/canary"}`, []string{"/workflows/canary", "AdaptiveCard"}},
		"telegram":      {`{"chat": "@us", "topic": 17, "endpoint": "%s"}`, `{"token": "123456:canary"}`, []string{"/bot123456:canary/", `"@us"`, `"message_thread_id":17`}},
		"twilio": {
			`{"account": "AC0123456789abcdef0123456789abcdef", "key": "SK0123456789abcdef0123456789abcdef", "from": "+15005550006", "to": "+15005550009", "most": 20, "endpoint": "%s"}`,
			`{"secret": "canary"}`, []string{"/Accounts/AC0123456789abcdef0123456789abcdef/", "SK0123456789abcdef0123456789abcdef canary", "From=%2B15005550006", "To=%2B15005550009"},
		},
		"webhook": {`{}`, `{"url": "%s/hook", "signing": ["` + signing + `"], "headers": ["Authorization: Bearer canary", "X-Pool:ours"]}`, []string{"/hook", "v1,", "Bearer canary", "X-Pool:[ours]"}},
	}
}

// Each type has an entry in the table above, with each of its fields, and what is said in them reaches the service.
func TestEveryFieldOfEveryTypeIsUsed(t *testing.T) {
	t.Parallel()
	table := all()
	require.Len(t, receivers.Types(), len(table))
	last := ""
	for _, typ := range receivers.Types() {
		require.Greater(t, typ.Name, last, "types are in order")
		last = typ.Name
		t.Run(typ.Name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			one := table[typ.Name]
			fill := strings.NewReplacer("%s", s.URL, "%h", strings.TrimPrefix(s.URL, "http://"))
			if strings.Contains(one.settings, "%m") {
				server, ca := s.mail(t)
				fill = strings.NewReplacer("%m", server, "%c", strings.ReplaceAll(ca, "\n", `\n`))
			}
			given, settings := one.settings+one.secrets, json.RawMessage(fill.Replace(one.settings))
			r := receivers.Receiver{Name: "ops", Type: typ.Name, Settings: settings, Secrets: secrets(t, fill.Replace(one.secrets))}
			for _, f := range typ.Fields {
				require.Contains(t, given, `"`+f.Name+`"`, "the table above leaves a field out")
				require.NotEmpty(t, f.About)
			}
			n, err := local().Make(r)
			require.NoError(t, err)
			require.NoError(t, n.Notify(t.Context(), message()))
			over := message()
			over.Key, over.First, over.Firing, over.Resolved = "k2", false, nil, over.Firing
			require.NoError(t, n.Notify(t.Context(), over))
			for _, said := range one.said {
				require.Contains(t, s.heard(), said)
			}

			// The guard counts: loopback is not allowed unless somebody says so.
			n, err = new(receivers.Maker).Make(r)
			require.NoError(t, err)
			require.ErrorIs(t, n.Notify(t.Context(), message()), notify.ErrForbidden)

			// Without what is required it is refused, by name.
			for _, f := range typ.Fields {
				if !f.Required {
					continue
				}
				without := r
				want := "settings." + f.Name
				if f.Secret {
					want = "secrets." + f.Name
					without.Secrets = receivers.Secrets{}
				} else {
					var fields map[string]any
					require.NoError(t, json.Unmarshal(settings, &fields))
					delete(fields, f.Name)
					without.Settings, err = json.Marshal(fields)
					require.NoError(t, err)
				}
				_, err := local().Make(without)
				require.Equal(t, want, fieldOf(t, err))
			}
		})
	}
}

func fieldOf(t *testing.T, err error) string {
	t.Helper()
	require.ErrorIs(t, err, pool.ErrInvalid)
	var e *pool.Error
	require.ErrorAs(t, err, &e)
	require.True(t, e.Want != "" || e.Cause != nil, "it says what would be right")
	return e.Field
}

// What cannot be is refused with the field that is wrong, and no error shows what was given as a secret.
func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ typ, settings, secrets, field string }{
		"no such type":             {"pigeon", `{}`, `{}`, "type"},
		"settings are a list":      {"discord", `[]`, `{}`, "settings"},
		"an unknown setting":       {"discord", `{"colour": 1}`, `{"url": "https://d.example/canary"}`, "settings.colour"},
		"a secret among settings":  {"discord", `{"url": "https://d.example/canary"}`, `{}`, "settings.url"},
		"a setting among secrets":  {"slack", `{"channel": "C0123456789"}`, `{"token": "xoxb-canary", "channel": "canary"}`, "secrets.channel"},
		"an unknown secret":        {"discord", `{}`, `{"token": "canary"}`, "secrets.token"},
		"two of one":               {"discord", `{}`, `{"url": ["https://d.example/canary", "https://d.example/canary"]}`, "secrets.url"},
		"no URL":                   {"discord", `{}`, `{"url": "canary"}`, "secrets.url"},
		"two lines":                {"slack", `{"channel": "C0123456789"}`, `{"token": "xoxb\ncanary"}`, "secrets.token"},
		"a token in a setting":     {"jira", `{"url": "https://me:canary@j.example", "project": "A"}`, `{"token": "canary"}`, "settings.url"},
		"one in a query":           {"telegram", `{"chat": "@a", "endpoint": "https://j.example/?key=canary"}`, `{"token": "1:canary"}`, "settings.endpoint"},
		"a number":                 {"telegram", `{"chat": "@a", "topic": "seven"}`, `{"token": "1:canary"}`, "settings.topic"},
		"half a number":            {"telegram", `{"chat": "@a", "topic": 1.5}`, `{"token": "1:canary"}`, "settings.topic"},
		"a number beyond":          {"twilio", `{"account": "AC0123456789abcdef0123456789abcdef", "from": "+15005550006", "to": "+15005550006", "most": 4294967616}`, `{"secret": "canary"}`, "settings.most"},
		"yes":                      {"jira", `{"url": "https://j.example", "project": "A", "cloud": "yes"}`, `{"token": "canary"}`, "settings.cloud"},
		"a list":                   {"jira", `{"url": "https://j.example", "project": "A", "labels": "a"}`, `{"token": "canary"}`, "settings.labels"},
		"a duration":               {"jira", `{"url": "https://j.example", "project": "A", "reopen_within": "a day"}`, `{"token": "canary"}`, "settings.reopen_within"},
		"a text":                   {"slack", `{"channel": 7}`, `{"token": "xoxb-canary"}`, "settings.channel"},
		"a long text":              {"slack", `{"channel": "` + strings.Repeat("C", 1<<15) + `"}`, `{"token": "xoxb-canary"}`, "settings.channel"},
		"what the notifier knows":  {"slack", `{"channel": "#general"}`, `{"token": "xoxb-canary"}`, "settings.channel"},
		"a template":               {"slack", `{"channel": "C0123456789", "template": "{{"}`, `{"token": "xoxb-canary"}`, "settings.template"},
		"a secret that it knows":   {"pagerduty", `{}`, `{"routing_key": "canary"}`, "secrets.routing_key"},
		"one of a list":            {"webhook", `{}`, `{"url": "https://w.example", "signing": ["` + signing + `", "canary"]}`, "secrets.signing[1]"},
		"no address":               {"email", `{"server": "m.example", "from": "x", "to": ["a@b.example"]}`, `{}`, "settings.from"},
		"nobody":                   {"email", `{"server": "m.example", "from": "a@b.example", "to": []}`, `{}`, "settings.to"},
		"a choice":                 {"email", `{"server": "m.example", "from": "a@b.example", "to": ["a@b.example"], "security": "none"}`, `{}`, "settings.security"},
		"no certificate":           {"email", `{"server": "m.example", "from": "a@b.example", "to": ["a@b.example"], "ca": "-----"}`, `{}`, "settings.ca"},
		"a password for nobody":    {"email", `{"server": "m.example", "from": "a@b.example", "to": ["a@b.example"]}`, `{"password": "canary"}`, "secrets.password"},
		"one of several templates": {"email", `{"server": "m.example", "from": "a@b.example", "to": ["a@b.example"], "text": "{{", "html": "x"}`, `{}`, "settings.text"},
		"text messages of a mail":  {"email-sms", `{"server": "m.example", "from": "a@b.example", "to": ["a@b.example"], "most": 5}`, `{}`, "settings.most"},
		"a header":                 {"webhook", `{}`, `{"url": "https://w.example", "headers": ["canary"]}`, "secrets.headers"},
		"a header of ours":         {"webhook", `{}`, `{"url": "https://w.example", "headers": ["webhook-id: canary"]}`, "secrets.headers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := local().Make(receivers.Receiver{Name: "ops", Type: c.typ, Settings: json.RawMessage(c.settings), Secrets: secrets(t, c.secrets)})
			require.Equal(t, c.field, fieldOf(t, err))
			require.NotContains(t, err.Error(), "canary")
		})
	}
	for _, bad := range []string{`[]`, `{"a": 7}`, `{"a": ["canary", 7]}`, `{"a": {"canary": 1}}`} {
		var s receivers.Secrets
		err := json.Unmarshal([]byte(bad), &s)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "canary")
	}
	s := secrets(t, `{"a": "canary", "b": ["canary", "canary"], "c": "", "d": null, "e": []}`)
	require.Equal(t, []string{"a", "b"}, s.Set())
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", s, s, s, s), "canary")
	require.Contains(t, s, "c", "an empty one is to be left out, which is something else than not to be mentioned")
	require.NotContains(t, s, "d")
	out, err := json.Marshal(s)
	require.NoError(t, err)
	require.NotContains(t, string(out), "canary")
}
