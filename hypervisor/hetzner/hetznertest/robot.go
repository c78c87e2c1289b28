package hetznertest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// RobotServer is a dedicated server of a Robot.
type RobotServer struct {
	Number  int
	Name    string
	IP      string
	Product string
	DC      string
	Resets  []string // "sw", "hw", "man", "power", "power_long"
	Running bool
	Blind   bool          // the service cannot tell whether it runs
	Deaf    bool          // it does not shut down when its power button is pressed, only when it is held
	Delay   time.Duration // how long it takes to switch off
	Boot    string        // "rescue" or "linux": what it boots the next time, "" what is on its disks
	Booted  string        // what it has booted last
}

// RobotConfig is how a Robot behaves.
type RobotConfig struct {
	User, Password string // empty: "user" and "password"
	Servers        []RobotServer
}

// Robot is a simulated Robot web service, on a loopback address. It is safe for concurrent use. Its budgets are those of
// the real one; three failed log-ins block whoever asks, for good.
type Robot struct {
	config RobotConfig
	server *httptest.Server
	faults faults

	mu       sync.Mutex
	servers  []*robotServer
	keys     []object
	failover object
	orders   []object
	failed   int // log-ins
	used     map[string]int
	requests []Request
}

type robotServer struct {
	RobotServer
	off time.Time // when it goes off; zero: not
}

// NewRobot starts a Robot; Close ends it.
func NewRobot(c RobotConfig) *Robot {
	if c.User == "" {
		c.User = "user"
	}
	if c.Password == "" {
		c.Password = "password"
	}
	r := &Robot{config: c, used: make(map[string]int)}
	for _, s := range c.Servers {
		r.servers = append(r.servers, &robotServer{RobotServer: s})
	}
	if len(r.servers) > 0 {
		s := r.servers[0]
		r.failover = object{"ip": "198.51.100.1", "netmask": "255.255.255.255", "server_ip": s.IP, "server_ipv6_net": "2001:db8::", "server_number": s.Number, "active_server_ip": s.IP}
	}
	r.server = httptest.NewServer(http.HandlerFunc(r.serve))
	return r
}

// Close ends the service.
func (r *Robot) Close() { r.server.Close() }

// Endpoint is the base URL.
func (r *Robot) Endpoint() string { return r.server.URL }

// Fail plans a fault and returns how often it has happened so far.
func (r *Robot) Fail(x Fault) (hits func() int) { return r.faults.add(x) }

// Requests returns the requests so far.
func (r *Robot) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Blocked reports whether there have been three failed log-ins.
func (r *Robot) Blocked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed >= 3
}

// Server returns a server as it is now.
func (r *Robot) Server(number int) RobotServer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.find(number); s != nil {
		return s.RobotServer
	}
	return RobotServer{}
}

// SetRunning switches a server on or off, as somebody at it would.
func (r *Robot) SetRunning(number int, running bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.find(number); s != nil {
		s.Running, s.off = running, time.Time{}
	}
}

func (r *Robot) find(number int) *robotServer {
	for _, s := range r.servers {
		if s.Number == number {
			if !s.off.IsZero() && !s.off.After(time.Now()) {
				s.Running, s.off = false, time.Time{}
			}
			return s
		}
	}
	return nil
}

func no(status int, code, message string) answer {
	return answer{status, object{"error": object{"status": status, "code": code, "message": message}}}
}

func invalidForm(missing, invalid []string) answer {
	return answer{http.StatusBadRequest, object{"error": object{"status": 400, "code": "INVALID_INPUT", "message": "invalid input", "missing": missing, "invalid": invalid}}}
}

// budget is how many requests of a kind there may be in an hour, or, of orders, in a day.
func budget(method, first string) (most, seconds int) {
	switch method + " " + first {
	case "GET server":
		return 200, 3600
	case "POST reset":
		return 50, 3600
	case "GET failover":
		return 100, 3600
	case "POST failover", "DELETE failover":
		return 50, 3600
	case "POST wol":
		return 10, 3600
	case "POST order":
		return 20, 86400
	}
	return 500, 3600
}

func (r *Robot) serve(w http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(io.LimitReader(in.Body, 1<<20))
	if err != nil {
		return
	}
	x := r.faults.next(in.Method, in.URL.Path)
	if x.Do != nil {
		x.Do()
	}
	if x.Delay > 0 {
		time.Sleep(x.Delay)
	}
	if x.Before {
		cut(w)
		return
	}
	r.mu.Lock()
	a := r.answer(in, body, x)
	r.requests = append(r.requests, Request{in.Method, in.URL.Path, string(body), a.status})
	r.mu.Unlock()
	if x.After {
		cut(w)
		return
	}
	if x.Text != "" {
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, x.Text)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out, err := json.Marshal(a.body)
	if err != nil {
		panic(err)
	}
	w.WriteHeader(a.status)
	if a.body != nil {
		_, _ = w.Write(out)
	}
}

// answer does what is asked for. The caller holds the lock.
func (r *Robot) answer(in *http.Request, body []byte, x Fault) answer {
	user, password, _ := in.BasicAuth()
	if user != r.config.User || password != r.config.Password || r.failed >= 3 {
		r.failed++
		return no(http.StatusUnauthorized, "UNAUTHORIZED", "Unauthorized")
	}
	r.failed = 0
	if x.Status != 0 {
		return no(x.Status, x.Code, x.Message)
	}
	parts := strings.Split(strings.Trim(in.URL.Path, "/"), "/")
	kind := in.Method + " " + parts[0]
	if most, seconds := budget(in.Method, parts[0]); r.used[kind] >= most {
		return answer{http.StatusForbidden, object{"error": object{"status": 403, "code": "RATE_LIMIT_EXCEEDED", "message": "rate limit exceeded", "max_request": most, "interval": seconds}}}
	}
	r.used[kind]++
	form, err := url.ParseQuery(string(body))
	if err != nil || len(body) > 0 && in.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return no(http.StatusBadRequest, "INVALID_INPUT", "invalid input")
	}
	a := r.carryOut(in.Method, parts, form)
	if x.Twice {
		a = r.carryOut(in.Method, parts, form)
	}
	return a
}

func (r *Robot) carryOut(method string, parts []string, form url.Values) answer {
	ok := func(v any) answer { return answer{http.StatusOK, v} }
	created := func(v any) answer { return answer{http.StatusCreated, v} }
	switch strings.Join([]string{method, parts[0]}, " ") {
	case "GET failover":
		return ok([]any{object{"failover": r.failover}})
	case "POST failover":
		to := form.Get("active_server_ip")
		if !slices.ContainsFunc(r.servers, func(s *robotServer) bool { return s.IP == to }) {
			return no(http.StatusNotFound, "FAILOVER_NEW_SERVER_NOT_FOUND", "server not found")
		}
		r.failover["active_server_ip"] = to
		return ok(object{"failover": r.failover})
	case "DELETE failover":
		r.failover["active_server_ip"] = nil
		return ok(object{"failover": r.failover})
	case "POST traffic":
		data := object{}
		for _, ip := range form["ip[]"] {
			data[ip] = object{"in": 0.2874, "out": 0.0481, "sum": 0.3355}
		}
		out := any(data)
		if len(data) == 0 {
			out = []any{}
		}
		return ok(object{"traffic": object{"type": form.Get("type"), "from": form.Get("from"), "to": form.Get("to"), "data": out}})
	case "GET key":
		return ok(r.keys)
	case "POST key":
		if form.Get("name") == "" || form.Get("data") == "" {
			return invalidForm([]string{"name", "data"}, nil)
		}
		k := object{"key": object{"name": form.Get("name"), "fingerprint": "56:29:99", "type": "ED25519", "size": 256, "data": form.Get("data")}}
		r.keys = append(r.keys, k)
		return created(k)
	case "DELETE key":
		r.keys = nil
		return ok(nil)
	case "GET order", "POST order":
		return r.order(method, parts, form)
	}
	if len(parts) == 1 && method == http.MethodGet && (parts[0] == "server" || parts[0] == "reset") {
		out := []any{}
		for _, s := range r.servers {
			if parts[0] == "reset" {
				out = append(out, object{"reset": s.reset(false)})
			} else {
				out = append(out, object{"server": s.json(false)})
			}
		}
		return ok(out)
	}
	if len(parts) < 2 {
		return no(http.StatusNotFound, "NOT_FOUND", "not found")
	}
	number, _ := strconv.Atoi(parts[1])
	s := r.find(number)
	if s == nil {
		return no(http.StatusNotFound, "SERVER_NOT_FOUND", "Server not found")
	}
	switch strings.Join([]string{method, parts[0]}, " ") {
	case "GET server":
		return ok(object{"server": s.json(true)})
	case "POST server":
		s.Name = form.Get("server_name")
		return ok(object{"server": s.json(true)})
	case "GET reset":
		return ok(object{"reset": s.reset(true)})
	case "POST reset":
		by := form.Get("type")
		if !slices.Contains(s.Resets, by) {
			return invalidForm(nil, []string{"type"})
		}
		s.press(by)
		return ok(object{"reset": object{"server_ip": s.IP, "server_ipv6_net": "2001:db8::", "server_number": s.Number, "type": by}})
	case "POST wol":
		s.start()
		return ok(object{"wol": object{"server_ip": s.IP, "server_ipv6_net": "2001:db8::", "server_number": s.Number}})
	case "GET boot":
		return ok(object{"boot": object{"rescue": s.option("rescue", nil), "linux": s.option("linux", nil), "vnc": nil, "windows": nil, "plesk": nil, "cpanel": nil}})
	case "POST boot", "DELETE boot":
		return r.boot(method, parts, form, s)
	}
	return no(http.StatusNotFound, "NOT_FOUND", "not found")
}

func (s *robotServer) json(whole bool) object {
	out := object{"server_ip": s.IP, "server_ipv6_net": "2001:db8::", "server_number": s.Number, "server_name": s.Name, "product": s.Product, "dc": s.DC,
		"traffic": "5 TB", "status": "ready", "cancelled": false, "paid_until": "2026-12-31", "ip": []any{s.IP},
		"subnet": []any{object{"ip": "2001:db8::", "mask": "64"}}, "linked_storagebox": nil}
	if whole {
		more := object{"reset": len(s.Resets) > 0, "rescue": true, "vnc": true, "windows": false, "plesk": false, "cpanel": false, "wol": true, "hot_swap": false}
		for k, v := range more {
			out[k] = v
		}
	}
	return out
}

func (s *robotServer) reset(whole bool) object {
	out := object{"server_ip": s.IP, "server_ipv6_net": "2001:db8::", "server_number": s.Number, "type": s.Resets}
	if whole {
		out["operating_status"] = "shut off"
		if s.Running {
			out["operating_status"] = "running"
		}
		if s.Blind {
			out["operating_status"] = "not supported"
		}
	}
	return out
}

func (s *robotServer) start() {
	if !s.Running {
		s.Running, s.off, s.Booted, s.Boot = true, time.Time{}, s.Boot, ""
	}
}

// press is what a reset does.
func (s *robotServer) press(by string) {
	switch {
	case by == "power" && !s.Running, by == "power_long" && !s.Running:
		s.start() // a button pressed on a machine that is off
	case by == "power_long", by == "power" && !s.Deaf:
		s.off = time.Now().Add(s.Delay)
		if s.Delay == 0 {
			s.Running, s.off = false, time.Time{}
		}
	case by == "hw" || by == "sw" || by == "man":
		s.Running, s.off = false, time.Time{}
		s.start()
	}
}

// option is a boot configuration as it stands, or as it was just activated.
func (s *robotServer) option(kind string, activated object) object {
	out := object{"server_ip": s.IP, "server_ipv6_net": "2001:db8::", "server_number": s.Number, "active": false, "password": nil, "authorized_key": []any{}, "host_key": []any{}, "boot_time": nil}
	if kind == "rescue" {
		out["os"] = []any{"linux", "vkvm"}
	} else {
		out["dist"], out["lang"] = []any{"Debian 12 base", "Ubuntu 24.04 LTS base"}, []any{"en"}
	}
	for k, v := range activated {
		out[k] = v
	}
	return out
}

func (r *Robot) boot(method string, parts []string, form url.Values, s *robotServer) answer {
	if len(parts) != 3 || parts[2] != "rescue" && parts[2] != "linux" {
		return no(http.StatusNotFound, "BOOT_NOT_AVAILABLE", "No boot configuration available for this server")
	}
	kind := parts[2]
	if method == http.MethodDelete {
		s.Boot = ""
		return answer{http.StatusOK, object{kind: s.option(kind, nil)}}
	}
	if s.Boot != "" {
		return no(http.StatusConflict, "BOOT_ALREADY_ENABLED", "There is already an active boot configuration for the server")
	}
	chosen := object{"active": true}
	keys := []any{}
	for _, k := range form["authorized_key[]"] {
		keys = append(keys, object{"key": object{"name": "k", "fingerprint": k, "type": "ED25519", "size": 256}})
	}
	chosen["authorized_key"] = keys
	if len(keys) == 0 {
		chosen["password"] = "boot-password-of-the-test"
	}
	fields := []string{"os"}
	if kind == "linux" {
		fields = []string{"dist", "lang"}
	}
	for _, field := range fields {
		if form.Get(field) == "" {
			return invalidForm([]string{field}, nil)
		}
		chosen[field] = form.Get(field)
	}
	s.Boot = kind
	return answer{http.StatusOK, object{kind: s.option(kind, chosen)}}
}

func (r *Robot) order(method string, parts []string, form url.Values) answer {
	switch {
	case method == http.MethodGet && parts[len(parts)-1] == "product":
		return answer{http.StatusOK, []any{object{"product": object{"id": "EX44", "name": "Dedicated Server EX44", "description": []any{"64 GB"}, "traffic": "unlimited",
			"dist": []any{"Rescue system"}, "lang": []any{"en"}, "location": []any{"FSN1", "HEL1"}}}}}
	case method == http.MethodGet && parts[len(parts)-1] == "transaction":
		out := []any{}
		for _, o := range r.orders {
			out = append(out, object{"transaction": o})
		}
		return answer{http.StatusOK, out}
	case method == http.MethodGet:
		for _, o := range r.orders {
			if o["id"] == parts[len(parts)-1] {
				return answer{http.StatusOK, object{"transaction": o}}
			}
		}
		return no(http.StatusNotFound, "NOT_FOUND", "Transaction not found")
	case form.Get("product_id") == "":
		return invalidForm([]string{"product_id"}, nil)
	}
	o := object{"id": "B20260101-" + strconv.Itoa(1000+len(r.orders)), "date": "2026-01-01T12:00:00+01:00", "status": "in process", "server_number": nil, "server_ip": nil,
		"authorized_key": []any{}, "host_key": []any{}, "comment": nil}
	if form.Get("test") != "true" {
		r.orders = append(r.orders, o)
	}
	return answer{http.StatusCreated, object{"transaction": o}}
}

// Orders returns how many orders are contracts.
func (r *Robot) Orders() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.orders)
}
