// Package promapi is the part of Prometheus's HTTP interface that Grafana, promtool and Prometheus itself need to take
// berthd for one of theirs: queries, what series there are, federation, and remote write.
//
// Paths, parameters, answers and errors are Prometheus's, not those of the rest of berthd's API.
package promapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/berthage/berthage/examples/berthd/history"
)

// Config is what Register needs.
type Config struct {
	History  *history.History
	Complete func(labels.Labels) labels.Labels // gives what is written by others the labels of the pool; nil: as it comes
	Logger   *slog.Logger                      // nil: nothing is logged

	// Within returns what of the history there is for whoever a request is from, or why there is nothing; nil: all of it. An error is answered by Refuse.
	Within  func(*http.Request) (history.Within, error)
	Refuse  func(http.ResponseWriter, *http.Request, error)
	Version string
}

type server struct{ Config }

const prefix = "/api/v1"

// Mux is where paths are registered: an http.ServeMux, or one that decides who may ask.
type Mux interface {
	Handle(pattern string, handler http.Handler)
}

// WritePath is the only path that changes something.
const WritePath = prefix + "/write"

// Register registers the paths. Who may ask is the Mux's to decide.
func Register(mux Mux, c Config) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Complete == nil {
		c.Complete = func(l labels.Labels) labels.Labels { return l }
	}
	if c.Within == nil {
		c.Within = func(*http.Request) (history.Within, error) { return c.History.Within(), nil }
	}
	s := &server{c}
	for path, answer := range map[string]func(*http.Request, history.Within) (any, annotations.Annotations, error){
		"/query":       s.query,
		"/query_range": s.queryRange,
		"/series":      s.series,
		"/labels":      s.labels,
	} {
		mux.Handle("GET "+prefix+path, s.answer(answer))
		mux.Handle("POST "+prefix+path, s.answer(answer))
	}
	mux.Handle("GET "+prefix+"/label/{name}/values", s.answer(s.values))
	mux.Handle("GET "+prefix+"/metadata", s.answer(s.metadata))
	mux.Handle("GET "+prefix+"/status/buildinfo", s.answer(s.build))
	mux.Handle("POST "+WritePath, http.HandlerFunc(s.write))
	mux.Handle("GET /federate", http.HandlerFunc(s.federate))
}

// failure is an error with its kind in Prometheus's words.
type failure struct {
	kind   string
	status int
	error
}

func badData(format string, a ...any) error {
	return &failure{"bad_data", http.StatusBadRequest, fmt.Errorf(format, a...)}
}

// response is what every answer looks like.
type response struct {
	Status    string   `json:"status"` // success or error
	Data      any      `json:"data,omitempty"`
	ErrorType string   `json:"errorType,omitempty"`
	Error     string   `json:"error,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
	Infos     []string `json:"infos,omitempty"`
}

// mostNotes bounds the warnings of an answer.
const mostNotes = 10

// answer makes a handler of a function that returns what is asked for. The request's form has been read.
func (s *server) answer(f func(*http.Request, history.Within) (any, annotations.Annotations, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.History.Timeout())
		defer cancel()
		r = r.WithContext(ctx)
		if err := r.ParseForm(); err != nil {
			kind, status := "bad_data", http.StatusBadRequest
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				status = http.StatusRequestEntityTooLarge
			}
			s.refuse(w, &failure{kind, status, err})
			return
		}
		within, err := s.Within(r)
		if err != nil {
			s.Refuse(w, r, err)
			return
		}
		data, notes, err := f(r, within)
		if err != nil {
			s.refuse(w, err)
			return
		}
		out := response{Status: "success", Data: data}
		out.Warnings, out.Infos = notes.AsStrings(r.Form.Get("query"), mostNotes, mostNotes)
		s.write200(w, out)
	})
}

func (s *server) write200(w http.ResponseWriter, out response) {
	b, err := json.Marshal(out)
	if err != nil {
		s.refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // a client that is gone needs no answer
}

// refuse answers with an error. What went wrong inside is for the log.
func (s *server) refuse(w http.ResponseWriter, err error) {
	f := failureOf(err)
	text := f.Error()
	if f.status == http.StatusInternalServerError {
		s.Logger.Warn("a query failed", "error", err)
		text = "see the daemon's log"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(response{Status: "error", ErrorType: f.kind, Error: text}) // a client that is gone needs no answer
}

func failureOf(err error) *failure {
	var f *failure
	var canceled promql.ErrQueryCanceled
	var timeout promql.ErrQueryTimeout
	var many promql.ErrTooManySamples
	var storage promql.ErrStorage
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &canceled), errors.Is(err, context.Canceled):
		return &failure{"canceled", http.StatusServiceUnavailable, err}
	case errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded):
		return &failure{"timeout", http.StatusServiceUnavailable, err}
	case errors.As(err, &many):
		return &failure{"execution", http.StatusUnprocessableEntity, err}
	case errors.As(err, &storage):
		return &failure{"internal", http.StatusInternalServerError, err}
	}
	return &failure{"execution", http.StatusUnprocessableEntity, err}
}

// moment reads a time: seconds since 1970 or RFC 3339; none where the parameter is absent.
func moment(r *http.Request, name string, none time.Time) (time.Time, error) {
	v := r.Form.Get(name)
	switch v {
	case "":
		return none, nil
	case earliest().Format(time.RFC3339Nano):
		return earliest(), nil
	case latest().Format(time.RFC3339Nano):
		return latest(), nil
	}
	if f, err := strconv.ParseFloat(v, 64); err == nil && math.Abs(f) < 1e11 {
		return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
		return t, nil
	}
	return none, badData("invalid parameter %q: cannot parse %q to a valid timestamp", name, short(v))
}

// earliest is the beginning of time as clients of Prometheus send it.
func earliest() time.Time { return time.Unix(math.MinInt64/1000+62135596801, 0).UTC() }

// latest is its end.
func latest() time.Time { return time.Unix(math.MaxInt64/1000-62135596801, 999999999).UTC() }

// span reads a duration: seconds, or as in PromQL.
func span(r *http.Request, name string) (time.Duration, error) {
	v := r.Form.Get(name)
	if v == "" {
		return 0, nil
	}
	if f, err := strconv.ParseFloat(v, 64); err == nil && f > 0 && f < float64(math.MaxInt64)/float64(time.Second) {
		return time.Duration(f * float64(time.Second)), nil
	}
	if d, err := model.ParseDuration(v); err == nil && d > 0 {
		return time.Duration(d), nil
	}
	return 0, badData("invalid parameter %q: cannot parse %q to a valid duration above zero", name, short(v))
}

// limit reads how many results are wanted at most; 0: all.
func limit(r *http.Request) (int, error) {
	v := r.Form.Get("limit")
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, badData("invalid parameter \"limit\": %q is no number of zero or more", short(v))
	}
	return n, nil
}

func short(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}

func (s *server) build(*http.Request, history.Within) (any, annotations.Annotations, error) {
	// Clients look at the version to know what they can ask; it is that of the engine inside.
	return map[string]string{
		"version": engine, "revision": "berthd " + s.Version, "branch": "", "buildUser": "", "buildDate": "", "goVersion": runtime.Version(),
	}, nil, nil
}

// engine is the version of Prometheus whose engine and database are inside: v0.315.0 of the module.
const engine = "3.15.0"
