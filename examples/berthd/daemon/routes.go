package daemon

import (
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/api"
	"github.com/berthage/berthage/examples/berthd/dashboard"
	"github.com/berthage/berthage/examples/berthd/edge"
)

// routes puts the edge, the guard and everything that answers behind each other.
func (d *Daemon) routes(a api.Config) http.Handler {
	mux := http.NewServeMux()
	api.Register(mux, a)
	if d.measured != nil {
		d.registerHistory(mux)
	}
	mux.HandleFunc("GET /health", d.health)
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, map[string]bool{"live": true}) })
	mux.Handle("GET /metrics", d.guard.Only(auth.Read, auth.Metrics, d.metrics))
	mux.HandleFunc("POST /hooks/slack", d.slackHook)
	mux.HandleFunc("POST /hooks/pagerduty/{receiver}", d.pagerDutyHook)
	pages := dashboard.New()
	files := pages.Paths()
	for _, name := range files {
		if name == "/" {
			name = "/{$}" // and nothing below it
		}
		mux.Handle("GET "+name, pages)
	}
	mux.Handle("GET /problems/{kind}", pages)
	mux.Handle("GET /assets/", pages)
	return edge.Handler(d.guard.Require(d.trail.Handler(edge.Route(mux)), func(r *http.Request) bool { return public(r, files) }), edge.Config{Logger: d.log, Observer: d.metrics, TLS: d.config.TLSCert != "", Proxies: d.config.Proxies})
}

// public reports whether a request needs no credentials: signs of life, the pages' own files, which hold no
// data, signing in, and what services say of acknowledgements, which they sign. A path that is not clean is none of these.
func public(r *http.Request, files []string) bool {
	p := r.URL.Path
	if api.Public(r) || r.Method == http.MethodPost && path.Clean(p) == p && strings.HasPrefix(p, "/hooks/") {
		return true
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead || path.Clean(p) != p {
		return false
	}
	if p == "/health" || p == "/health/live" || slices.Contains(files, p) {
		return true
	}
	return strings.HasPrefix(p, "/assets/") || strings.HasPrefix(p, "/problems/")
}

// state is what /health answers.
type state struct {
	Status    string `json:"status"` // ready, or not ready
	Live      bool   `json:"live"`
	Ready     bool   `json:"ready"`
	Manager   bool   `json:"manager"`   // runs
	Commands  bool   `json:"commands"`  // are taken
	Leading   bool   `json:"leading"`   // drivers are called
	Following bool   `json:"following"` // the ledger is read up to its head

	Unconfirmed bool   `json:"unconfirmed,omitempty"` // the ledger was imported: no driver is called yet
	Backup      string `json:"backup,omitempty"`      // ok, late, or none yet; empty where none are asked for
}

// health answers 200 when the daemon can do its work and 503 with the reason otherwise.
func (d *Daemon) health(w http.ResponseWriter, _ *http.Request) {
	s := d.manager.Status()
	h := state{
		Status: "not ready", Live: true, Manager: d.running.Load(), Commands: s.Stale == "", Leading: s.Leading,
		Following: d.ops.Head() >= s.Revision,
	}
	h.Unconfirmed = s.Unconfirmed
	if d.backups != nil {
		switch b := d.backups.Status(); {
		case b.Late(time.Now()):
			h.Backup = "late"
		case b.Success.IsZero():
			h.Backup = "none yet"
		default:
			h.Backup = "ok"
		}
	}
	h.Ready = h.Manager && h.Commands && h.Leading
	status := http.StatusServiceUnavailable
	if h.Ready {
		h.Status, status = "ready", http.StatusOK
	}
	reply(w, status, h)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
}
