package messages_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	slackgo "github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/slack"
)

// slackTable is what Slack's documents say of blocks: which texts they take, and how many characters.
func slackTable(blocks slackgo.Blocks) error {
	faults := rules(len(blocks.BlockSet) > 0 && len(blocks.BlockSet) <= 50, "not 1 to 50 blocks")
	text := func(what string, t *slackgo.TextBlockObject, kind string, most int) {
		if t == nil {
			faults = errors.Join(faults, errors.New(what+" without a text"))
			return
		}
		faults = errors.Join(faults, t.Validate(), rules(
			t.Type == kind, what+" of "+t.Type,
			t.Text != "" && utf8.RuneCountInString(t.Text) <= most, fmt.Sprintf("%s of %d characters", what, utf8.RuneCountInString(t.Text)),
			utf8.ValidString(t.Text) && !strings.ContainsAny(t.Text, "\x00\r\u202e"), what+" with control characters",
		))
	}
	for _, b := range blocks.BlockSet {
		switch b := b.(type) {
		case *slackgo.HeaderBlock:
			text("header", b.Text, slackgo.PlainTextType, 150)
		case *slackgo.SectionBlock:
			text("section", b.Text, slackgo.MarkdownType, 3000)
		case *slackgo.ActionBlock:
			for _, e := range b.Elements.ElementSet {
				button, ok := e.(*slackgo.ButtonBlockElement)
				if !ok {
					faults = errors.Join(faults, fmt.Errorf("an element of type %s, which is none of ours", e.ElementType()))
					continue
				}
				text("button", button.Text, slackgo.PlainTextType, 75)
				faults = errors.Join(faults, rules(
					button.ActionID != "" && len(button.ActionID) <= 255, "a button without a name",
					button.Value != "" && len(button.Value) <= 2000, "a button without a value",
				))
			}
		default:
			faults = errors.Join(faults, fmt.Errorf("a block of type %s, which is none of ours", b.BlockType()))
		}
	}
	return faults
}

// special is what Slack makes more of than text: mentions, channels, dates and links.
var special = regexp.MustCompile(`<([^>]*)>?`)

// calls in our messages only the one to our own page.
func calls(text string) error {
	var faults []error
	for _, found := range special.FindAllStringSubmatch(text, -1) {
		if href, label, _ := strings.Cut(found[1], "|"); !isWeb(href) || label != "All of it" {
			faults = append(faults, fmt.Errorf("Slack would make something of %.100q", found[0]))
		}
	}
	return errors.Join(faults...)
}

// readSlack decodes a request into a type of slack-go, and returns what is wrong with it: what the type does not take, what is lost when it is
// encoded again, and what breaks the table.
func readSlack(body []byte, into any, blocks func() slackgo.Blocks, besides ...string) error {
	if err := json.Unmarshal(body, into); err != nil {
		return err
	}
	again, err := json.Marshal(into)
	if err != nil {
		return err
	}
	var sent, got map[string]any
	if err := errors.Join(json.Unmarshal(body, &sent), json.Unmarshal(again, &got)); err != nil {
		return err
	}
	for _, name := range besides {
		delete(sent, name)
	}
	return errors.Join(lost("", sent, got), slackTable(blocks()))
}

// lost returns what of a is not in b.
func lost(path string, a, b any) error {
	var faults []error
	switch a := a.(type) {
	case map[string]any:
		in, _ := b.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(a)) {
			faults = append(faults, lost(path+"."+name, a[name], in[name]))
		}
	case []any:
		in, _ := b.([]any)
		if len(in) != len(a) {
			return fmt.Errorf("%s has %d elements, and had %d", path, len(in), len(a))
		}
		for i := range a {
			faults = append(faults, lost(fmt.Sprintf("%s[%d]", path, i), a[i], in[i]))
		}
	default:
		if !reflect.DeepEqual(a, b) && (a != "" || b != nil) {
			return fmt.Errorf("%s was %.100v and has become %.100v", path, a, b)
		}
	}
	return errors.Join(faults...)
}

// workspace keeps what is sent to a webhook or the Web API.
type workspace struct {
	mu   sync.Mutex
	got  [][]byte
	path []string
}

func (s *workspace) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got, s.path = append(s.got, body), append(s.path, r.URL.Path)
	fmt.Fprintf(w, `{"ok":true,"ts":"1700000000.%06d"}`, len(s.got))
}

// take returns what has come since the last time.
func (s *workspace) take() (bodies [][]byte, paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bodies, paths = s.got, s.path
	s.got, s.path = nil, nil
	return bodies, paths
}

// Every message is one that slack-go's types know, of which they lose nothing, within Slack's limits, and it calls nobody.
func TestSlackBlocks(t *testing.T) {
	t.Parallel()
	s := new(workspace)
	server := httptest.NewServer(s)
	defer server.Close()
	hook, err := slack.NewWebhook(slack.WebhookConfig{URL: notify.NewSecret(server.URL + "/services/T0/B0/x"), HTTP: client(), Look: slack.Look{Acknowledge: true}})
	require.NoError(t, err)
	bot, err := slack.NewBot(slack.BotConfig{Token: notify.NewSecret("xoxb-1"), Channel: "C0123456789", Endpoint: server.URL, HTTP: client(), Look: slack.Look{Acknowledge: true}})
	require.NoError(t, err)
	judged := 0
	for _, k := range kinds() {
		require.NoError(t, hook.Notify(t.Context(), k.m), k.name)
		bodies, _ := s.take()
		require.Len(t, bodies, 1, k.name)
		var m slackgo.WebhookMessage
		require.NoError(t, readSlack(bodies[0], &m, func() slackgo.Blocks { return *m.Blocks }), k.name)
		require.NoError(t, errors.Join(calls(m.Text), callsOf(*m.Blocks)), k.name)
		require.False(t, *m.UnfurlLinks || *m.UnfurlMedia, k.name)

		require.NoError(t, bot.Notify(t.Context(), k.m), k.name)
		bodies, paths := s.take()
		require.NotEmpty(t, bodies, k.name)
		for i, body := range bodies {
			var m slackgo.Msg
			// The type is of a message as it is read: whether links unfurl is not in it.
			require.NoError(t, readSlack(body, &m, func() slackgo.Blocks { return m.Blocks }, "unfurl_links", "unfurl_media"), k.name)
			require.NoError(t, errors.Join(calls(m.Text), callsOf(m.Blocks)), k.name)
			require.Equal(t, "C0123456789", m.Channel, k.name)
			require.Equal(t, paths[i] == "/chat.update", m.Timestamp != "", k.name)
			require.Equal(t, map[string]any{"key": k.m.Key, "incident": k.m.Incident}, m.Metadata.EventPayload, k.name)
		}
		judged += 1 + len(bodies)
	}
	report(t, fmt.Sprintf("slack: %d requests of %d messages taken by the types of slack-go and Slack's limits", judged, len(kinds())))
}

func callsOf(blocks slackgo.Blocks) error {
	var faults error
	for _, b := range blocks.BlockSet {
		if s, ok := b.(*slackgo.SectionBlock); ok && s.Text != nil {
			faults = errors.Join(faults, calls(s.Text.Text), rules(s.Text.Verbatim, "Slack would look for names and links by itself"))
		}
	}
	return faults
}

// The judge refuses what is wrong.
func TestSlackJudgeRefuses(t *testing.T) {
	t.Parallel()
	good := `{"text":"x","blocks":[{"type":"header","text":{"type":"plain_text","text":"x"}},{"type":"section","text":{"type":"mrkdwn","text":"x","verbatim":true}}],"unfurl_links":false,"unfurl_media":false}`
	judge := func(body string) error {
		var m slackgo.WebhookMessage
		return readSlack([]byte(body), &m, func() slackgo.Blocks { return *m.Blocks })
	}
	require.NoError(t, judge(good))
	for name, change := range map[string][2]string{
		"an unknown field":         {`"text":"x","blocks"`, `"text":"x","colour":"red","blocks"`},
		"an unknown field within":  {`"verbatim":true`, `"verbatim":true,"bold":true`},
		"an unknown block":         {`"type":"header"`, `"type":"heading"`},
		"a header of mrkdwn":       {`"plain_text"`, `"mrkdwn"`},
		"an empty text":            {`{"type":"plain_text","text":"x"}`, `{"type":"plain_text","text":""}`},
		"a long header":            {`"plain_text","text":"x"`, `"plain_text","text":"` + strings.Repeat("é", 151) + `"`},
		"a long section":           {`"mrkdwn","text":"x"`, `"mrkdwn","text":"` + strings.Repeat("é", 3001) + `"`},
		"blocks that are a text":   {`"blocks":[`, `"blocks":"x","b":[`},
		"a text that is an object": {`"text":"x","blocks"`, `"text":{},"blocks"`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		require.NotEqual(t, good, bad, name)
		require.Error(t, judge(bad), name)
	}
	for _, bad := range []string{"<!channel>", "a <@U1> b", "<https://evil.example|All>", "<!here", "<https://evil.example>"} {
		require.Error(t, calls(bad), bad)
	}
	require.NoError(t, calls("<https://berth.example/a|All of it> &lt;!channel&gt;"))
}
