package hetznertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Judge judges what a Cloud is sent and what it answers; an error says what is wrong. Paths are without the base
// URL's.
type Judge interface {
	Request(method, path string, query url.Values, body []byte) error
	Response(method, path string, status int, body []byte) error
}

// CloudConfig is how a Cloud behaves. The zero value is a fast one.
type CloudConfig struct {
	Token             string        // empty: "token"
	ActionTime        time.Duration // how long an action takes
	ShutdownTime      time.Duration // how long a guest takes to shut down when it is asked to
	Deaf              bool          // guests do not shut down when they are asked to
	StartsAfterResize bool          // a server whose type was changed is started
	LeavesAddresses   bool          // addresses that should go with their server stay
	PerHour           int           // budget of requests; zero: 3600 and as many at once
	Burst             int           // how many requests are left at the beginning; zero: PerHour
	Judge             Judge         // nil: nobody judges
}

// Cloud is a simulated Cloud API of one project, on a loopback address. It is safe for concurrent use.
//
// It sells the types small (2 cores, 4 GB, 40 GB of disk), medium (4, 8, 80) and large (8, 16, 160) for x86, arm-small
// for arm and old, which is deprecated, at the locations fsn1, nbg1 and hel1, and has the images debian-12 and
// ubuntu-24.04, the latter for arm too, and huge, whose disk is larger than that of any type.
type Cloud struct {
	config CloudConfig
	server *httptest.Server
	faults faults

	mu         sync.Mutex
	id         int64
	servers    map[int64]*server
	volumes    map[int64]*volume
	images     map[int64]*image
	addresses  map[int64]*address
	groups     map[int64]*named
	networks   map[int64]*named
	keys       map[int64]*named
	actions    map[int64]*action
	room       map[string]int // by location; a location without an entry has room
	left       float64        // of the budget
	counted    time.Time
	requests   []Request
	violations []string
}

// Request is a request that was answered, or would have been.
type Request struct {
	Method string
	Path   string // without the base URL's
	Body   string
	Status int // of the answer
}

// NewCloud starts a Cloud; Close ends it.
func NewCloud(c CloudConfig) *Cloud {
	if c.Token == "" {
		c.Token = "token"
	}
	if c.PerHour <= 0 {
		c.PerHour = 3600
	}
	if c.Burst <= 0 {
		c.Burst = c.PerHour
	}
	f := &Cloud{
		config: c, id: 1000, servers: make(map[int64]*server), volumes: make(map[int64]*volume), images: make(map[int64]*image),
		addresses: make(map[int64]*address), groups: make(map[int64]*named), networks: make(map[int64]*named), keys: make(map[int64]*named),
		actions: make(map[int64]*action), room: make(map[string]int), left: float64(c.Burst), counted: time.Now(),
	}
	for _, i := range []image{
		{Name: "debian-12", Arch: "x86", Disk: 5}, {Name: "ubuntu-24.04", Arch: "x86", Disk: 5},
		{Name: "ubuntu-24.04", Arch: "arm", Disk: 5}, {Name: "huge", Arch: "x86", Disk: 2000},
	} {
		i.Type, i.Status, i.Content = "system", "available", "image "+i.Name
		f.addImage(&i)
	}
	f.server = httptest.NewServer(http.HandlerFunc(f.serve))
	return f
}

// Close ends the service.
func (f *Cloud) Close() { f.server.Close() }

// Endpoint is the base URL.
func (f *Cloud) Endpoint() string { return f.server.URL + "/v1" }

// Token is what requests must bear.
func (f *Cloud) Token() string { return f.config.Token }

// Fail plans a fault and returns how often it has happened so far. Of several for one request the first counts.
func (f *Cloud) Fail(x Fault) (hits func() int) { return f.faults.add(x) }

// Heal forgets all faults and lets the actions end that hang.
func (f *Cloud) Heal() {
	f.faults.clear()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.actions {
		if a.due.IsZero() {
			a.due = time.Now()
		}
	}
}

// Violations returns what the judge has found wrong.
func (f *Cloud) Violations() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.violations)
}

// Requests returns the requests so far whose method and path match, an empty method any and the path as a regular
// expression.
func (f *Cloud) Requests(method, path string) []Request {
	re := regexp.MustCompile(path)
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.requests), func(r Request) bool {
		return method != "" && r.Method != method || !re.MatchString(r.Path)
	})
}

// answer is what a request is answered with.
type answer struct {
	status int
	body   any // nil: none
}

// object is a JSON object.
type object = map[string]any

func refuse(status int, code, message string) answer {
	return answer{status, object{"error": object{"code": code, "message": message, "details": nil}}}
}

func notFound(what string) answer { return refuse(http.StatusNotFound, "not_found", what+" not found") }

func invalidInput(field, message string) answer {
	return answer{http.StatusUnprocessableEntity, object{"error": object{"code": "invalid_input", "message": "invalid input in field '" + field + "'",
		"details": object{"fields": []any{object{"name": field, "messages": []any{message}}}}}}}
}

// serve answers one request.
func (f *Cloud) serve(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/v1")
	if !ok {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	x := f.faults.next(r.Method, path)
	if x.Do != nil {
		x.Do()
	}
	if x.Delay > 0 {
		select {
		case <-time.After(x.Delay):
		case <-r.Context().Done():
		}
	}
	if x.Before {
		cut(w)
		return
	}
	var a answer
	h := w.Header()
	switch {
	case r.Header.Get("Authorization") != "Bearer "+f.config.Token:
		a = refuse(http.StatusUnauthorized, "unauthorized", "unable to authenticate")
	case !f.spend(h):
		a = refuse(http.StatusTooManyRequests, "rate_limit_exceeded", "limit of "+strconv.Itoa(f.config.PerHour)+" requests per hour reached")
	case x.Status != 0 && x.Text != "":
		for k, v := range x.Header {
			h[k] = v
		}
		w.WriteHeader(x.Status)
		_, _ = io.WriteString(w, x.Text)
		f.note(r.Method, path, body, x.Status)
		return
	case x.Status != 0:
		for k, v := range x.Header {
			h[k] = v
		}
		a = refuse(x.Status, x.Code, x.Message)
	default:
		a = f.carryOut(r, path, body, x)
	}
	f.note(r.Method, path, body, a.status)
	var out []byte
	if a.body != nil {
		if out, err = json.Marshal(a.body); err != nil {
			panic(err)
		}
		h.Set("Content-Type", "application/json")
	}
	if j := f.config.Judge; j != nil && x.Status == 0 {
		f.violation(r.Method+" "+path+": the answer", j.Response(r.Method, path, a.status, out))
	}
	switch {
	case x.After:
		cut(w)
	case x.Short:
		h.Set("Content-Length", strconv.Itoa(len(out)))
		w.WriteHeader(a.status)
		_, _ = w.Write(out[:len(out)/2])
	default:
		w.WriteHeader(a.status)
		_, _ = w.Write(out)
	}
}

// carryOut judges a request and does what it asks for.
func (f *Cloud) carryOut(r *http.Request, path string, body []byte, x Fault) answer {
	if j := f.config.Judge; j != nil {
		if err := j.Request(r.Method, path, r.URL.Query(), body); err != nil {
			f.violation(r.Method+" "+path, err)
			return invalidInput("request", err.Error())
		}
	}
	in := request{method: r.Method, path: path, query: r.URL.Query(), fault: x}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &in.body); err != nil {
			return refuse(http.StatusBadRequest, "json_error", "invalid JSON")
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.route(&in)
	switch {
	case x.Twice:
		a = f.route(&in)
	case x.Again:
		f.route(&in)
	}
	return a
}

// spend takes a request from the budget and tells what is left.
func (f *Cloud) spend(h http.Header) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	rate := float64(f.config.PerHour) / float64(time.Hour)
	f.left = min(f.left+float64(now.Sub(f.counted))*rate, float64(f.config.PerHour))
	f.counted = now
	ok := f.left >= 1
	if ok {
		f.left--
	}
	full := time.Duration((float64(f.config.PerHour) - f.left) / rate)
	h.Set("RateLimit-Limit", strconv.Itoa(f.config.PerHour))
	h.Set("RateLimit-Remaining", strconv.Itoa(int(f.left)))
	h.Set("RateLimit-Reset", strconv.FormatInt(now.Add(full).Unix(), 10))
	return ok
}

func (f *Cloud) note(method, path string, body []byte, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, Request{method, path, string(body), status})
}

func (f *Cloud) violation(where string, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.violations = append(f.violations, fmt.Sprintf("%s: %v", where, err))
}

// request is what is asked for.
type request struct {
	method, path string
	query        url.Values
	body         object
	fault        Fault
	id           int64  // in the path
	verb         string // behind "/actions/"
}

func (r *request) text(key string) string { s, _ := r.body[key].(string); return s }
func (r *request) number(key string) int64 {
	n, _ := r.body[key].(float64)
	return int64(n)
}
func (r *request) flag(key string, otherwise bool) bool {
	if b, ok := r.body[key].(bool); ok {
		return b
	}
	return otherwise
}
func (r *request) ids(key string) []int64 {
	var out []int64
	list, _ := r.body[key].([]any)
	for _, v := range list {
		n, _ := v.(float64)
		out = append(out, int64(n))
	}
	return out
}
func (r *request) labels(otherwise map[string]string) map[string]string {
	m, ok := r.body["labels"].(map[string]any)
	if !ok {
		return otherwise
	}
	out := make(map[string]string)
	for k, v := range m {
		out[k], _ = v.(string)
	}
	return out
}

// route finds what is asked for. The caller holds the lock.
func (f *Cloud) route(r *request) answer {
	f.settle(time.Now())
	parts := strings.Split(strings.Trim(r.path, "/"), "/")
	if len(parts) > 1 {
		id, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return notFound("page")
		}
		r.id = id
	}
	if len(parts) == 4 && parts[2] == "actions" && r.method == http.MethodPost {
		r.verb = parts[3]
	}
	switch kind := r.method + " " + parts[0]; {
	case len(parts) == 1 && r.method == http.MethodGet:
		return f.list(parts[0], r)
	case len(parts) == 2 && r.method == http.MethodGet:
		return f.get(parts[0], r)
	case len(parts) == 1 && kind == "POST servers":
		return f.createServer(r)
	case len(parts) == 1 && kind == "POST volumes":
		return f.createVolume(r)
	case len(parts) == 3 && kind == "GET servers" && parts[2] == "metrics":
		return f.metrics(r)
	case len(parts) == 2 && kind == "DELETE servers":
		return f.deleteServer(r)
	case len(parts) == 2 && kind == "PUT servers":
		return f.updateServer(r)
	case len(parts) == 2 && kind == "DELETE volumes":
		return f.deleteVolume(r)
	case len(parts) == 2 && kind == "DELETE images":
		return f.deleteImage(r)
	case len(parts) == 2 && kind == "PUT images":
		return f.updateImage(r)
	case len(parts) == 2 && kind == "DELETE primary_ips":
		return f.deleteAddress(r)
	case kind == "POST servers" && r.verb != "":
		return f.actOnServer(r)
	case kind == "POST volumes" && r.verb != "":
		return f.actOnVolume(r)
	}
	return notFound("page")
}
