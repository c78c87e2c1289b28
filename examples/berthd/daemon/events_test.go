package daemon_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// message is one server-sent event.
type message struct {
	id, name string
	data     object
}

// listen opens the stream and returns a function that waits for its next message; false when it has ended.
func (r *rig) listen(ctx context.Context, path string, headers ...string) func() (message, bool) {
	r.t.Helper()
	res, err := (&http.Client{}).Do(r.request(http.MethodGet, path, nil, headers...).WithContext(ctx))
	require.NoError(r.t, err)
	require.Equal(r.t, http.StatusOK, res.StatusCode)
	require.Equal(r.t, "text/event-stream", res.Header.Get("Content-Type"))
	r.t.Cleanup(func() { res.Body.Close() })
	in := bufio.NewReader(res.Body)
	return func() (message, bool) {
		var m message
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return m, false
			}
			line = strings.TrimSuffix(line, "\n")
			switch {
			case line == "" && m.name != "":
				return m, true
			case strings.HasPrefix(line, "id: "):
				m.id = line[4:]
			case strings.HasPrefix(line, "event: "):
				m.name = line[7:]
			case strings.HasPrefix(line, "data: "):
				require.NoError(r.t, json.Unmarshal([]byte(line[6:]), &m.data))
			}
		}
	}
}

func TestEventsAreStreamedAndReplayed(t *testing.T) {
	t.Parallel()
	r := start(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	next := r.listen(ctx, "/api/v1/events")
	hello, _ := next()
	require.Equal(t, "hello", hello.name)
	require.InDelta(t, float64(r.head()), hello.data["revision"], 0)

	body := vm("watched")
	body["spec"].(object)["guest"] = object{"ssh_keys": []string{publicKey}, "user_data": "canary-4711"}
	r.launch(body)
	var seen []message
	for kinds := ""; !strings.Contains(kinds, "machine.observed"); {
		m, ok := next()
		require.True(t, ok)
		require.Equal(t, "batch", m.name)
		require.Equal(t, m.id, strconv.Itoa(int(m.data["revision"].(float64))))
		for _, e := range m.data["events"].([]any) {
			kinds += e.(object)["kind"].(string) + " "
		}
		seen = append(seen, m)
		b, err := json.Marshal(m.data)
		require.NoError(t, err)
		require.NotContains(t, string(b), "canary-4711", "what is personal is not in the stream")
		require.NotContains(t, string(b), "AAAAC3Nza")
	}

	// Whoever comes back gets exactly what he missed, in order.
	again := r.listen(ctx, "/api/v1/events", "Last-Event-ID", hello.id+strconv.Itoa(int(hello.data["revision"].(float64))))
	m, _ := again()
	require.Equal(t, "hello", m.name)
	for _, want := range seen {
		m, ok := again()
		require.True(t, ok)
		require.Equal(t, want, m)
	}

	// From the beginning every revision comes once, in order.
	all := r.listen(ctx, "/api/v1/events?after=0")
	m, _ = all()
	require.Equal(t, "hello", m.name)
	for rev := 1; rev <= int(r.head()); rev++ {
		m, ok := all()
		require.True(t, ok)
		require.Equal(t, strconv.Itoa(rev), m.id)
	}

	// A revision that the ledger has not reached is another ledger's: start afresh.
	beyond := r.listen(ctx, "/api/v1/events", "Last-Event-ID", "999999")
	m, _ = beyond()
	require.Equal(t, "hello", m.name)
	m, _ = beyond()
	require.Equal(t, "reset", m.name)
	require.InDelta(t, float64(r.head()), m.data["revision"], 0)

	r.call(http.MethodGet, "/api/v1/events", nil, "Last-Event-ID", "x").problem(422, "invalid-value")
	r.call(http.MethodGet, "/api/v1/events", nil, "Last-Event-ID", "-4").problem(422, "invalid-value")

	// When the daemon stops, streams end at once and in order.
	began := time.Now()
	r.stop()
	for ok := true; ok; _, ok = again() {
	}
	require.Less(t, time.Since(began), 5*time.Second)
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	for range 64 {
		next := r.listen(ctx, "/api/v1/events")
		m, _ := next()
		require.Equal(t, "hello", m.name)
	}
	p := r.get("/api/v1/events")
	p.problem(503, "too-many-streams")
	require.NotEmpty(t, p.header.Get("Retry-After"))
	cancel()
	r.eventually(func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		res, err := http.DefaultClient.Do(r.request(http.MethodGet, "/api/v1/events", nil).WithContext(ctx))
		require.NoError(t, err)
		defer res.Body.Close()
		_, _ = io.ReadFull(res.Body, make([]byte, 1))
		return res.StatusCode == http.StatusOK
	})
}

// A HEAD of the stream ends, as every HEAD does, and takes no stream's place.
func TestTheHeadOfAStream(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	for range 65 {
		a := r.call(http.MethodHead, "/api/v1/events", nil).want(http.StatusOK)
		require.Equal(t, "text/event-stream", a.header.Get("Content-Type"))
		require.Empty(t, a.body)
	}
}
