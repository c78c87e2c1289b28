package audit_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

func noon() time.Time { return time.Date(2026, 11, 29, 12, 0, 0, 123456000, time.UTC) }

// event is one with an envelope, as it stands in a ledger.
func event(t testing.TB, kind string, payload any) pool.Event {
	t.Helper()
	e, err := pool.NewEvent(kind, payload)
	require.NoError(t, err)
	return enveloped(e)
}

func enveloped(e pool.Event) pool.Event {
	e.ID, e.Revision, e.Index, e.Time, e.Actor, e.Cause = "e1", 17, 3, noon(), "ada", "request-1"
	return e
}

func TestEntryOf(t *testing.T) {
	t.Parallel()
	base := audit.Entry{Time: noon(), Actor: "ada", Result: audit.Done, Correlation: "request-1", Event: &audit.Position{Revision: 17, Index: 3}, ID: "e1"}
	with := func(action, target string) audit.Entry {
		e := base
		e.Action, e.Target = action, target
		return e
	}
	id := pool.NewInstanceID("FIRST", "p", "a")
	command := audit.Command{Action: "launch instance", Target: string(id), Decision: "binding b1: operator of p", Result: audit.Failed, Detail: "no host fits", From: "198.51.100.7"}
	told, err := command.Event("ada")
	require.NoError(t, err)
	require.NotContains(t, string(told.Data), "198.51.100.7")
	want := with("launch instance", string(id))
	want.From, want.Decision, want.Result, want.Detail = "198.51.100.7", "binding b1: operator of p", audit.Failed, "no host fits"
	forgotten := enveloped(told)
	forgotten.Private = nil
	without := want
	without.From = ""
	refusals := audit.Refusals{Principal: "eve", Minute: noon().Truncate(time.Minute), Count: 70, Action: "delete host", Reason: "no binding"}
	refused, err := refusals.Event()
	require.NoError(t, err)
	nobody := refusals
	nobody.Principal = ""
	refusedOthers, err := nobody.Event()
	require.NoError(t, err)
	entryOfRefused := audit.Entry{Time: refusals.Minute, Actor: "eve", Action: "delete host", Decision: "no binding", Result: audit.Refused, Count: 70, Event: base.Event, ID: "e1"}
	entryOfOthers := entryOfRefused
	entryOfOthers.Actor = "(others)"
	for name, c := range map[string]struct {
		e    pool.Event
		want audit.Entry
	}{
		"instance":   {event(t, pool.KindWanted, &pool.Wanted{Instance: id}), with("instance.wanted", string(id))},
		"machine":    {event(t, pool.KindSent, &pool.OfMachine{Machine: id.Machine(2)}), with("machine.sent", string(id.Machine(2)))},
		"host":       {event(t, pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: "sim/h1", Name: "h1"}}), with("host.put", "sim/h1")},
		"project":    {event(t, pool.KindProjectPut, &pool.Project{Name: "p"}), with("project.put", "p")},
		"about none": {event(t, pool.KindTakenOver, &pool.TakenOver{Holder: "d"}), with("ledger.taken-over", "")},
		"no JSON":    {enveloped(pool.Event{Kind: "other.kind", Data: []byte("\xff")}), with("other.kind", "")},
		"command":    {enveloped(told), want},
		"forgotten":  {forgotten, without},
		"refusals":   {enveloped(refused), entryOfRefused},
		"others":     {enveloped(refusedOthers), entryOfOthers},
		"bad":        {enveloped(pool.Event{Kind: audit.KindCommand, Version: 1, Data: []byte("{")}), with(audit.KindCommand, "")},
		"newer":      {enveloped(pool.Event{Kind: audit.KindRefusals, Version: 2, Data: []byte("{}")}), with(audit.KindRefusals, "")},
	} {
		require.Equal(t, c.want, audit.EntryOf(&c.e), name)
	}
}

// Events of the package are folded like others, and leave nothing in the books.
func TestPart(t *testing.T) {
	t.Parallel()
	st := pool.NewState(audit.Part())
	opened := event(t, pool.KindOpened, &pool.Opened{Ledger: "FIRST"})
	told, err := (&audit.Command{Action: "x", Result: audit.Done, From: "198.51.100.7"}).Event("ada")
	require.NoError(t, err)
	refused, err := (&audit.Refusals{Count: 1, Action: "x"}).Event()
	require.NoError(t, err)
	gone := event(t, pool.KindForgotten, &pool.Forgotten{Subject: "ada"})
	for i, e := range []pool.Event{opened, told, refused, gone} {
		e.Revision, e.Index, e.Time = pool.Revision(i+1), 0, noon()
		require.NoError(t, st.Apply(&e))
	}
	saved, err := st.Snapshot().Bytes()
	require.NoError(t, err)
	require.NotContains(t, string(saved), "198.51.100.7")
	back, err := pool.ReadSnapshot(strings.NewReader(string(saved)), audit.Part())
	require.NoError(t, err)
	require.Equal(t, st.Head(), back.Head())

	for kind, e := range map[error]pool.Event{
		pool.ErrUnknownKind: {Kind: "audit.other", Version: 1, Data: []byte("{}")},
		pool.ErrInvalid:     {Kind: audit.KindCommand, Version: 1, Data: []byte(`{"more":1}`)},
	} {
		_, err := audit.Part().Fold(&e)
		require.ErrorIs(t, err, kind)
	}
	for _, e := range []pool.Event{{Kind: audit.KindCommand, Version: 2, Data: []byte("{}")}, {Kind: audit.KindRefusals, Version: 1, Data: []byte(`{"count":0}`)},
		{Kind: audit.KindRefusals, Version: 1, Data: []byte(`{"count":1} {}`)}, {Kind: audit.KindRefusals, Version: 1}} {
		_, err := audit.Part().Fold(&e)
		require.Error(t, err)
	}
	// A record becomes the same events, by the command of a Manager.
	d := audit.Part().(interface {
		Decide(*pool.State, json.RawMessage, time.Time) ([]pool.Event, error)
	})
	record, err := json.Marshal(audit.Record{Command: &audit.Command{Action: "x", Result: audit.Done, Detail: strings.Repeat("y", 9999)}, From: "198.51.100.7", Subject: "ada",
		Refusals: []audit.Refusals{{Principal: "eve", Minute: noon(), Count: 3, Action: "z"}}})
	require.NoError(t, err)
	events, err := d.Decide(st, record, noon())
	require.NoError(t, err)
	require.Len(t, events, 2)
	command, err := audit.ReadCommand(&events[0])
	require.NoError(t, err)
	require.Equal(t, audit.Command{Action: "x", Result: audit.Done, Detail: strings.Repeat("y", 509) + "...", From: "198.51.100.7"}, command)
	require.Equal(t, "ada", events[0].Subject)
	require.NotContains(t, string(events[0].Data), "198.51.100.7")
	counted, err := audit.ReadRefusals(&events[1])
	require.NoError(t, err)
	require.EqualValues(t, 3, counted.Count)
	none, err := d.Decide(st, json.RawMessage("{}"), noon())
	require.NoError(t, err)
	require.Empty(t, none)
	many, err := json.Marshal(audit.Record{Refusals: make([]audit.Refusals, 3000)})
	require.NoError(t, err)
	for _, bad := range []string{"", "[]", `{"more":1}`, `{} {}`, `{"refusals":[{"count":0}]}`, `{"command":{},"from":"198.51.100.7"}`, string(many)} {
		_, err := d.Decide(st, json.RawMessage(bad), noon())
		require.ErrorIs(t, err, pool.ErrInvalid, bad)
	}

	_, err = audit.Part().Load([]byte("{}"))
	require.ErrorIs(t, err, pool.ErrInvalid)
}

// hostile are texts that mean something to terminals, log files, parsers and readers.
func hostile() []string {
	return []string{"", "two\nlines", "\r\n<14>1 - - - - - - forged", "\x1b[2Jgone", "nul\x00", "\u202eright to left", "\u2028\u2029\u0085", "\xff\xfe", `"},{"actor":"eve`, `\`, "é \U0001f6a2",
		strings.Repeat("x", 5000), strings.Repeat("\u202e", 2000), strings.Repeat("\xff", 5000), "a b] c", "\u007f"}
}

// Whatever is in an entry, a line of JSON is one line of printable ASCII from which the same text comes back; so is syslog's.
func checkLines(t testing.TB, text string) {
	e := audit.Entry{Time: noon(), Actor: text, From: text, Action: text, Target: text, Decision: text, Result: audit.Result(text), Detail: text, Correlation: text, ID: text}
	line := string(audit.JSONLines{}.Append(nil, &e))
	require.Regexp(t, `^[ -~]+\n$`, line)
	require.Less(t, len(line), 30_000)
	var back audit.Entry
	require.NoError(t, json.Unmarshal([]byte(line), &back))
	require.Equal(t, noon(), back.Time)
	want := text
	if len(want) > 512 {
		require.LessOrEqual(t, len(strings.ToValidUTF8(back.Actor, "")), 3*512)
		require.True(t, strings.HasSuffix(back.Actor, "..."))
	} else {
		runes := []rune(want) // invalid bytes are the replacement character, each
		require.Equal(t, string(runes), back.Actor)
	}
	require.Equal(t, back.Actor, back.Detail)
	require.True(t, utf8.ValidString(back.Actor))
	require.Equal(t, text, e.Actor, "what is given stays as it is")

	m := string(audit.Syslog{Host: text, App: text, Process: text, Facility: len(text)}.Append([]byte("before"), &e))
	parts := regexp.MustCompile(`^before(\d+) (<\d{1,3}>1 2026-11-29T12:00:00\.123456Z ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) - (\{[ -~]+\}))$`).FindStringSubmatch(m)
	require.NotNil(t, parts, "%q", m)
	require.Equal(t, parts[1], fmt.Sprint(len(parts[2])))
	require.Equal(t, strings.TrimSuffix(line, "\n"), parts[7])
}

func TestHostileTexts(t *testing.T) {
	t.Parallel()
	for _, text := range hostile() {
		checkLines(t, text)
	}
}

func FuzzLines(f *testing.F) {
	for _, text := range hostile() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkLines(t, text)
		for _, kind := range []string{audit.KindCommand, audit.KindRefusals} {
			e := pool.Event{Kind: kind, Version: 1, Data: []byte(text)}
			_ = audit.EntryOf(&e)
			if _, err := audit.Part().Fold(&e); err != nil {
				require.ErrorIs(t, err, pool.ErrInvalid)
			}
		}
	})
}

func TestSyslog(t *testing.T) {
	t.Parallel()
	e := audit.Entry{Time: noon(), Actor: "ada", Action: "launch instance", Result: audit.Done}
	body := `{"time":"2026-11-29T12:00:00.123456Z","actor":"ada","action":"launch instance","result":"done"}`
	require.Equal(t, `<110>1 2026-11-29T12:00:00.123456Z - berthage - launch_instance - `+body, string(audit.Syslog{Datagrams: true}.Append(nil, &e)))
	require.Equal(t, fmt.Sprintf(`%d <134>1 2026-11-29T12:00:00.123456Z db-1 berthd 42 launch_instance - %s`, 68+len(body), body),
		string(audit.Syslog{Host: "db-1", App: "berthd", Process: "42", Facility: 16}.Append(nil, &e)))
	for result, want := range map[audit.Result]string{audit.Done: "<110>", audit.Refused: "<109>", audit.Lost: "<109>", audit.Failed: "<108>", "": "<110>"} {
		e.Result = result
		require.True(t, strings.HasPrefix(string(audit.Syslog{Datagrams: true}.Append(nil, &e)), want), result)
	}
	e.Time = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)
	require.Contains(t, string(audit.Syslog{Datagrams: true}.Append(nil, &e)), ">1 - - berthage")
}
