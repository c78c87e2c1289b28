package edge_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/edge"
)

type seen struct{ status []int }

func (s *seen) Observe(_, _ string, status int, _ time.Duration) { s.status = append(s.status, status) }

// serve runs one request through the edge and returns the answer and the log.
func serve(t *testing.T, h http.HandlerFunc, r *http.Request) (*httptest.ResponseRecorder, string, *seen) {
	t.Helper()
	var log bytes.Buffer
	s := &seen{}
	w := httptest.NewRecorder()
	edge.Handler(h, edge.Config{Logger: slog.New(slog.NewJSONHandler(&log, nil)), Observer: s}).ServeHTTP(w, r)
	return w, log.String(), s
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in   string
		kept bool
	}{
		"ours":     {"", false},
		"theirs":   {"order-17.a:b_C", true},
		"newline":  {"a\nb", false},
		"markup":   {"<script>", false},
		"unicode":  {"é", false},
		"too long": {strings.Repeat("x", 65), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/x", nil)
			r.Header["X-Request-Id"] = []string{tc.in}
			var inside string
			w, log, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { inside = edge.From(r.Context()).ID }, r)
			out := w.Header().Get("X-Request-Id")
			require.Equal(t, tc.kept, out == tc.in)
			require.Equal(t, out, inside)
			require.Contains(t, log, `"request_id":"`+out+`"`)
		})
	}
}

func TestHeadersAndLog(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/x?code=secret", nil)
	r.Header.Set("Authorization", "Bearer secret")
	r.Header.Set("Cookie", "berthd=secret")
	w, log, s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		edge.From(r.Context()).Actor = "api"
		w.WriteHeader(http.StatusTeapot)
	}, r)
	for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy"} {
		require.NotEmpty(t, w.Header().Get(h), h)
	}
	require.NotContains(t, edge.Policy, "unsafe")
	require.Contains(t, log, `"status":418`)
	require.Contains(t, log, `"actor":"api"`)
	require.NotContains(t, log, "secret", "neither queries nor headers are logged")
	require.Equal(t, []int{418}, s.status)
}

func TestLargeBodies(t *testing.T) {
	t.Parallel()
	read := func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	}
	w, _, _ := serve(t, func(http.ResponseWriter, *http.Request) { panic("must not be asked") },
		httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(make([]byte, 10<<20))))
	require.Equal(t, 413, w.Code)
	require.Contains(t, w.Body.String(), "/problems/too-large")
	require.Equal(t, "close", w.Header().Get("Connection"))

	w, _, _ = serve(t, read, httptest.NewRequest(http.MethodPost, "/", io.MultiReader(bytes.NewReader(make([]byte, 10<<20)))))
	require.Equal(t, 413, w.Code, "of unknown length")

	w, _, _ = serve(t, read, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(make([]byte, 1<<20))))
	require.Equal(t, 200, w.Code)
}

func TestPanics(t *testing.T) {
	t.Parallel()
	w, log, s := serve(t, func(http.ResponseWriter, *http.Request) { panic("secret of the inside") }, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, 500, w.Code)
	require.NotContains(t, w.Body.String(), "secret")
	require.Contains(t, log, "secret of the inside")
	require.Equal(t, []int{500}, s.status)

	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, httptest.NewRequest(http.MethodGet, "/", nil))
	})
}
