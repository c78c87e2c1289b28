package pvetest_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
)

// exchange is one line of the recording.
type exchange struct {
	N           int            `json:"n"`
	Note        string         `json:"note"`
	Auth        string         `json:"auth"`
	Method      string         `json:"method"`
	Path        string         `json:"path"`
	Params      map[string]any `json:"params"`
	Encoding    string         `json:"encoding"`
	Status      int            `json:"status"`
	Reason      string         `json:"reason"`
	ContentType string         `json:"content_type"`
	Body        any            `json:"body"`
}

func recording(t *testing.T) []exchange {
	t.Helper()
	f, err := os.Open("testdata/recording.jsonl.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var out []exchange
	for lines := bufio.NewReader(z); ; {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e exchange
			require.NoError(t, json.Unmarshal(line, &e))
			out = append(out, e)
		}
		if err == io.EOF {
			return out
		}
		require.NoError(t, err)
	}
}

// client speaks HTTP with a server without knowing anything of the API.
type client struct {
	t    *testing.T
	base string
	http *http.Client
}

func newClient(t *testing.T, s *pvetest.Server) *client {
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(s.CA()))
	return &client{t, s.URL(), &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}
}

// send makes a request as it was recorded, under a credential.
func (c *client) send(e exchange, token string) exchange {
	target := c.base + "/api2/json" + e.Path
	var body io.Reader
	form := make(url.Values)
	for k, v := range e.Params {
		if f, ok := v.(float64); ok {
			v = int64(f)
		}
		form.Set(k, fmt.Sprint(v))
	}
	kind := ""
	switch {
	case e.Method == "GET" || e.Method == "DELETE":
		if len(form) > 0 {
			target += "?" + form.Encode()
		}
	case e.Encoding == "json":
		b, err := json.Marshal(e.Params)
		require.NoError(c.t, err)
		body, kind = bytes.NewReader(b), "application/json"
	case len(form) > 0:
		body, kind = strings.NewReader(form.Encode()), "application/x-www-form-urlencoded"
	}
	req, err := http.NewRequestWithContext(c.t.Context(), e.Method, target, body)
	require.NoError(c.t, err)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if token != "" {
		req.Header.Set("Authorization", "PVEAPIToken="+token)
	}
	res, err := c.http.Do(req)
	require.NoError(c.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	out := exchange{Status: res.StatusCode, ContentType: res.Header.Get("Content-Type"), Body: string(b)}
	_, out.Reason, _ = strings.Cut(res.Status, " ")
	if strings.HasPrefix(out.ContentType, "application/json") {
		require.NoError(c.t, json.Unmarshal(b, &out.Body))
	}
	return out
}

// The fake answers everything that a real server was asked, one after another, as that one did: the same status, the same
// reason and error to the letter, and data of the same shape.
func TestReplay(t *testing.T) {
	t.Parallel()
	schema := official(t)
	s := pvetest.New(pvetest.Config{
		Nodes: []pvetest.Node{{Name: "pve1", CPUs: 2, Memory: 16 << 30}}, Lag: time.Nanosecond, Check: schema,
	})
	defer s.Close()
	c := newClient(t, s)
	c.send(exchange{Method: "POST", Path: "/pools", Params: map[string]any{"poolid": "p1"}}, s.Token())
	tasks := make(map[string]string) // ids of the recording, and ours
	limited := ""                    // the token that is made on the way
	for _, e := range recording(t) {
		if e.N == 153 {
			s.SetObeys(201, false) // it has no operating system
		}
		token := map[string]string{"root-token": s.Token(), "none": "", "ops@pve!ro3": limited}[e.Auth]
		if token == "" && e.Auth != "none" {
			token = strings.ReplaceAll(e.Auth, "MASKED", "wrong") + "=wrong"
		}
		ask := e
		for theirs, ours := range tasks {
			ask.Path = strings.ReplaceAll(ask.Path, theirs, ours)
		}
		var got exchange
		for range 1000 {
			if got = c.send(ask, token); e.Note != "final" || at(got.Body, "data", "status") != "running" {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		name := fmt.Sprintf("%d: %s %s %v (%s)", e.N, e.Method, e.Path, e.Params, e.Note)
		require.Equal(t, e.Status, got.Status, "%s: %v", name, got)
		require.Equal(t, e.ContentType, got.ContentType, name)
		if e.Status != 200 {
			require.Equal(t, e.Reason, got.Reason, name)
			require.Equal(t, e.Body, got.Body, name)
			continue
		}
		if upid, ok := at(e.Body, "data").(string); ok && strings.HasPrefix(upid, "UPID:") {
			ours, _ := at(got.Body, "data").(string)
			require.Equal(t, strings.Split(upid, ":")[5:], strings.Split(ours, ":")[5:], name) // kind, guest, user
			tasks[upid] = ours
		}
		if v, ok := at(got.Body, "data", "value").(string); ok && limited == "" {
			limited = "ops@pve!ro3=" + v
		}
		switch {
		case e.Note == "first poll": // it may have ended before
			for _, b := range []any{e.Body, got.Body} {
				m := b.(map[string]any)["data"].(map[string]any)
				delete(m, "exitstatus")
				delete(m, "status")
			}
		case e.Note == "final":
			require.Equal(t, at(e.Body, "data", "exitstatus"), at(got.Body, "data", "exitstatus"), name)
		case strings.HasSuffix(e.Path, "/log"):
			require.Equal(t, lastLine(e.Body), lastLine(got.Body), name)
		}
		require.Empty(t, differs("", e.Body, got.Body), "%s\nrecorded %v\nanswered %v", name, e.Body, got.Body)
	}
	require.Empty(t, s.Problems())
}

func lastLine(body any) any {
	lines := at(body, "data").([]any)
	return at(lines[len(lines)-1], "t")
}

// at looks into parsed JSON.
func at(v any, keys ...string) any {
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// differs tells in which way an answer has not the shape of the recorded one.
func differs(where string, want, got any) string {
	switch want := want.(type) {
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %T instead of an object", where, got)
		}
		if a, b := slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(m)); !slices.Equal(a, b) {
			return fmt.Sprintf("%s has %v instead of %v", where, b, a)
		}
		for k, v := range want {
			if text := differs(where+"."+k, v, m[k]); text != "" {
				return text
			}
		}
	case []any:
		l, ok := got.([]any)
		if !ok || (len(l) == 0) != (len(want) == 0) {
			return fmt.Sprintf("%s is %v instead of a list like %v", where, got, want)
		}
		// Every element is like one of those that were recorded, and each sort that was recorded is there.
		for i, e := range l {
			var texts []string
			if !slices.ContainsFunc(want, func(w any) bool {
				text := differs(fmt.Sprintf("%s[%d]", where, i), w, e)
				texts = append(texts, text)
				return text == ""
			}) {
				return strings.Join(texts, "; ")
			}
		}
		for _, key := range []string{"type", "key"} {
			sorts := func(l []any) []string {
				set := make(map[string]bool)
				for _, e := range l {
					if t, ok := at(e, key).(string); ok && at(e, "upid") == nil { // the history of tasks is its own
						set[t] = true
					}
				}
				return slices.Sorted(maps.Keys(set))
			}
			if a, b := sorts(want), sorts(l); !slices.Equal(a, b) {
				return fmt.Sprintf("%s has elements of %s %v instead of %v", where, key, b, a)
			}
		}
	default:
		if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
			return fmt.Sprintf("%s is %T instead of %T", where, got, want)
		}
	}
	return ""
}
