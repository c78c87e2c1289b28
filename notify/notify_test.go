package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

func loopback() notify.Guard {
	return notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	m := notify.Message{Key: "k", Incident: "i", First: true, Labels: map[string]string{"alertname": "HighCPU"}, Firing: []notify.Alert{
		{Labels: map[string]string{"vm": "web-1", "severity": "error"}, Value: "93", Starts: time.Unix(0, 0)},
	}}
	require.NoError(t, m.Check())
	require.Equal(t, "firing", m.Status())
	require.Equal(t, "error", m.Severity())
	require.Equal(t, `[FIRING:1] HighCPU: severity="error", vm="web-1"`, m.Title())
	require.Equal(t, []string{`firing 1970-01-01 00:00 UTC: severity="error", vm="web-1" (value 93)`}, m.Lines())
	require.False(t, m.Moot())
	m.Firing, m.Resolved = nil, m.Firing
	require.True(t, m.Moot())
	require.Equal(t, "resolved", m.Status())
	m.FiringMore = 4
	require.False(t, m.Moot())
	require.Contains(t, m.Title(), "[FIRING:4]")
	e := notify.Message{Key: "k", Incident: "i", Event: &notify.Event{Kind: "host-lost", Severity: "critical", Text: "a\nb"}}
	require.Equal(t, "host-lost", e.Title())
	require.Equal(t, "critical", e.Severity())
	e.Event.Title = " \n" // which services take for no text at all
	require.Equal(t, "host-lost", e.Title())
	require.Equal(t, "a\nb", e.Text(10))
	for field, m := range map[string]notify.Message{
		"key": {Key: "a\nb", Incident: "i", FiringMore: 1}, "incident": {Key: "k", Incident: strings.Repeat("x", 65), FiringMore: 1},
		"more": {Key: "k", Incident: "i", FiringMore: -1}, "alerts": {Key: "k", Incident: "i"},
	} {
		var err *pool.Error
		require.ErrorAs(t, m.Check(), &err)
		require.Equal(t, field, err.Field)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, runes, units string // within 4
	}{
		{"", "", ""}, {"abcd", "abcd", "abcd"}, {"abcde", "abc…", "abc…"}, {"日本語文", "日本語文", "日本語文"}, {"日本語文字", "日本語…", "日本語…"},
		{"😀😀😀", "😀😀😀", "😀…"}, {"a😀😀", "a😀😀", "a😀…"},
	} {
		require.Equal(t, c.runes, notify.Cut(c.in, 4))
		require.Equal(t, c.units, notify.CutBy(c.in, 4, notify.Units))
	}
	require.Empty(t, notify.Cut("ab", 0))
	require.Equal(t, notify.Mark, notify.Cut("ab", 1))
}

func TestListSaysHowManyMore(t *testing.T) {
	t.Parallel()
	lines := []string{"one", "two", "three"}
	require.Equal(t, "one\ntwo\nthree", notify.List(lines, 0, 13, notify.Runes))
	require.Equal(t, "one\nand 2 more", notify.List([]string{"one", "two", "three three"}, 0, 15, notify.Runes))
	require.Equal(t, "one\ntwo\nthree\nand 7 more", notify.List(lines, 7, 100, notify.Runes))
	require.Equal(t, "and 7 more", notify.List(nil, 7, 100, notify.Runes))
	for most := range 40 {
		got := notify.List(lines, 5, most, notify.Runes)
		require.LessOrEqual(t, utf8.RuneCountInString(got), most)
		if most >= 10 {
			require.Contains(t, got, "and ")
		}
	}
	long := notify.List([]string{strings.Repeat("x", 50)}, 0, 20, notify.Runes)
	require.Equal(t, strings.Repeat("x", 19)+notify.Mark, long)
}

func FuzzTextsStayWithinLimits(f *testing.F) {
	f.Add("a\x00b\u202e\nc😀", 5)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = max(0, min(most, 1000))
		plain := notify.Plain(s)
		require.True(t, utf8.ValidString(plain))
		require.NotContains(t, notify.Line(s), "\n")
		require.LessOrEqual(t, notify.Runes(notify.Cut(plain, most)), most)
		require.LessOrEqual(t, notify.Units(notify.CutBy(plain, most, notify.Units)), most)
		require.LessOrEqual(t, notify.Runes(notify.List(strings.Split(plain, "\n"), most, most, notify.Runes)), most)
	})
}

func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	s := notify.NewSecret("canary")
	type config struct {
		Token  notify.Secret
		hidden notify.Secret
		all    map[string]notify.Secret
	}
	c := config{s, s, map[string]notify.Secret{"a": s}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		require.NotContains(t, fmt.Sprintf(verb, s)+fmt.Sprintf(verb, &s)+fmt.Sprintf(verb, c)+fmt.Sprintf(verb, &c), "canary", verb)
		require.NotContains(t, fmt.Sprintf(verb, c), "63616e617279", verb)
	}
	b, err := json.Marshal(c)
	require.NoError(t, err)
	require.JSONEq(t, `{"Token": "[secret]"}`, string(b))
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "c", c)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "c", c)
	require.NotContains(t, log.String(), "canary")
	require.NoError(t, json.Unmarshal([]byte(`{"Token": "new"}`), &c))
	require.Equal(t, "new", c.Token.Reveal())
	require.True(t, notify.Secret{}.Empty())
}

func TestGuard(t *testing.T) {
	t.Parallel()
	var g notify.Guard
	for _, a := range []string{
		"127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1",
		"::", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fec0::1", "ff02::1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
		"2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:1::1", "2001:db8::1", "2a00::5efe:a00:1", "2a00::200:5efe:a00:1",
	} {
		require.ErrorIs(t, g.Check(netip.AddrPortFrom(netip.MustParseAddr(a), 443)), notify.ErrForbidden, a)
	}
	for _, a := range []string{"1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "172.32.0.1", "100.128.0.1"} {
		require.NoError(t, g.Check(netip.AddrPortFrom(netip.MustParseAddr(a), 443)), a)
	}
	g.Allow, g.Ports = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/30")}, []uint16{443}
	require.NoError(t, g.Check(netip.MustParseAddrPort("10.0.0.1:443")))
	require.NoError(t, g.Check(netip.MustParseAddrPort("[::ffff:10.0.0.1]:443")))
	require.ErrorIs(t, g.Check(netip.MustParseAddrPort("10.0.0.1:80")), notify.ErrForbidden)
	require.ErrorIs(t, g.Check(netip.MustParseAddrPort("10.0.0.4:443")), notify.ErrForbidden)
	require.ErrorIs(t, g.Control("tcp", "nonsense", nil), notify.ErrForbidden)
}

func TestClientGuardsByDefault(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("was called") }))
	defer s.Close()
	_, err := notify.NewClient(notify.ClientConfig{}).Do(t.Context(), notify.Request{Op: "x", URL: notify.NewSecret(s.URL + "/canary")})
	require.ErrorIs(t, err, notify.ErrForbidden)
	require.ErrorIs(t, err, notify.ErrBroken)
	require.True(t, notify.Permanent(err))
	require.NotContains(t, err.Error(), "canary")
}

func TestClientFollowsOnlyWhatKeepsTheRequest(t *testing.T) {
	t.Parallel()
	got := make(chan string, 10)
	mux := http.NewServeMux()
	mux.HandleFunc("/to", func(_ http.ResponseWriter, r *http.Request) { got <- r.Method })
	mux.Handle("/307", http.RedirectHandler("/to", http.StatusTemporaryRedirect))
	mux.Handle("/302", http.RedirectHandler("/to", http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusPermanentRedirect))
	s := httptest.NewServer(mux)
	defer s.Close()
	do := func(redirects int, path string) error {
		c := notify.NewClient(notify.ClientConfig{Guard: loopback(), Redirects: redirects})
		_, err := c.Do(t.Context(), notify.Request{Op: "x", URL: notify.NewSecret(s.URL + path), Body: []byte("x")})
		return err
	}
	require.ErrorIs(t, do(0, "/307"), notify.ErrPermanent)
	require.NoError(t, do(1, "/307"))
	require.Equal(t, "POST", <-got)
	require.ErrorIs(t, do(1, "/302"), notify.ErrPermanent, "a POST would become a GET")
	require.ErrorIs(t, do(3, "/loop"), notify.ErrPermanent)
	require.Empty(t, got)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	err := &notify.Error{Op: "x: post", Kind: notify.ErrTemporary, Status: 429, RetryAfter: 3 * time.Second, Maybe: true, Detail: `"slow"`, Cause: context.Canceled}
	require.Equal(t, `x: post: not delivered for now, status 429, again in 3s, it may have arrived: "slow": context canceled`, err.Error())
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, notify.Permanent(err))
	require.False(t, notify.Permanent(errors.New("any")))
	require.Equal(t, 3*time.Second, notify.RetryAfter(fmt.Errorf("wrapped: %w", err)))
	require.Zero(t, notify.RetryAfter(errors.New("any")))
}

func TestTemplatesEncodeWhatTheyWrite(t *testing.T) {
	t.Parallel()
	m := notify.Message{Labels: map[string]string{"vm": "<!channel>"}, Firing: []notify.Alert{{Value: "<b>"}}}
	escape := func(s string) string { return strings.ReplaceAll(s, "<", "&lt;") }
	p, err := notify.ParseText(`<i>{{.Labels.vm}}{{range .Firing}}{{$v := .Value}}{{if $v}} {{$v}}{{else}}{{.By}}{{end}}{{end}}{{with .Labels.no}}{{.}}{{end}}{{define "x"}}{{.Labels.vm}}{{end}}{{template "x" .}}`, escape)
	require.NoError(t, err)
	got, err := p.Render(m)
	require.NoError(t, err)
	require.Equal(t, "<i>&lt;!channel> &lt;b>&lt;!channel>", got)
	p, err = notify.ParseHTML(`<a title="{{.Labels.vm}}">{{range .Firing}}{{.Value}}{{end}}</a>`)
	require.NoError(t, err)
	got, err = p.Render(m)
	require.NoError(t, err)
	require.Equal(t, `<a title="&lt;!channel&gt;">&lt;b&gt;</a>`, got)
	for _, bad := range []string{"{{", "{{.Title | nothing}}"} {
		_, err = notify.ParseText(bad, nil)
		require.ErrorIs(t, err, pool.ErrInvalid)
		_, err = notify.ParseHTML(bad)
		require.ErrorIs(t, err, pool.ErrInvalid)
	}
	p, err = notify.ParseText(`{{range 100000}}{{$.Labels.vm}}xxxxxxxxxx{{end}}`, nil)
	require.NoError(t, err)
	_, err = p.Render(m)
	require.ErrorContains(t, err, "longer than")
}

func TestWrappers(t *testing.T) {
	t.Parallel()
	var told []string
	tell := func(name string, err error) notify.Notifier {
		return notify.Func(func(context.Context, notify.Message) error { told = append(told, name); return err })
	}
	fires := func(m notify.Message) bool { return m.Fires() }
	n := notify.All(tell("a", notify.ErrBroken), notify.When(fires, tell("b", nil)), tell("c", nil))
	require.ErrorIs(t, n.Notify(t.Context(), notify.Message{}), notify.ErrBroken)
	require.Equal(t, []string{"a", "c"}, told)
	require.Error(t, n.Notify(t.Context(), notify.Message{FiringMore: 1}))
	require.Equal(t, []string{"a", "c", "a", "b", "c"}, told)
}

// TestSeverityOfAlerts: the severities of package alert, those of others, and none.
func TestSeverityOfAlerts(t *testing.T) {
	t.Parallel()
	for is, want := range map[string]string{
		"critical": "critical", "high": "error", "medium": "warning", "low": "info", "page": "critical", "info": "info", "": "warning", "odd": "warning",
	} {
		m := notify.Message{Firing: []notify.Alert{{Labels: map[string]string{"severity": is}}, {Labels: map[string]string{"severity": "low"}}}}
		require.Equal(t, want, m.Severity(), is)
	}
}

// A receiver that does not speak HTTP is called as carefully as the others.
func TestDial(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				b := make([]byte, 64<<10)
				for {
					if _, err := conn.Write(b); err != nil {
						return
					}
				}
			}()
		}
	}()
	_, err = notify.NewClient(notify.ClientConfig{}).Dial(t.Context(), "test", l.Addr().String())
	require.ErrorIs(t, err, notify.ErrForbidden)
	require.ErrorIs(t, err, notify.ErrBroken)

	c := notify.NewClient(notify.ClientConfig{Guard: loopback(), Timeout: 30 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Dial(ctx, "test", l.Addr().String())
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, notify.ErrTemporary)

	conn, err := c.Dial(t.Context(), "test", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	n, err := io.Copy(io.Discard, conn)
	require.ErrorIs(t, err, notify.ErrAnswer)
	require.EqualValues(t, notify.MaxAnswer, n)

	conn, err = notify.NewClient(notify.ClientConfig{Guard: loopback(), Timeout: time.Millisecond}).Dial(t.Context(), "test", l.Addr().String())
	if err == nil { // else it took longer than that
		defer conn.Close()
		time.Sleep(2 * time.Millisecond)
		_, err = conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	require.Equal(t, `"no, [secret] and [secret] are not it"`, notify.Excerpt("no, ca+nary and ca%2Bnary\nare not it", notify.NewSecret("ca+nary")))
	require.LessOrEqual(t, len(notify.Excerpt(strings.Repeat("x", 1000))), 70)
}
