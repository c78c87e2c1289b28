package pvetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config is what a simulated cluster consists of. The zero value has one node "pve1" with a directory "local".
type Config struct {
	Nodes    []Node
	Storages []Storage

	// TaskTime is how long a task takes; zero: one millisecond.
	TaskTime time.Duration
	// Lag is how old the figures of /cluster/resources are; zero: ten seconds.
	Lag time.Duration
	// Check, if it is set, is asked about every request that the server's own tables accept; what it refuses is noted in
	// Problems. A test gives it the official description of the API.
	Check func(method, path string, params map[string]string) error
}

// Node is a server of the cluster.
type Node struct {
	Name   string
	CPUs   int
	Memory int64 // bytes
}

// Storage is where disks lie.
type Storage struct {
	Name    string
	Type    string // dir, lvmthin, nfs and so on; empty: dir
	Shared  bool   // the same on every node
	Content string // what it may hold, separated by commas; empty: everything
	Total   int64  // bytes; zero: 100 GiB
}

// Server is a simulated Proxmox VE. All methods are safe for concurrent use.
type Server struct {
	cfg      Config
	listener net.Listener
	http     *http.Server
	ca       []byte
	routes   []route

	mu       sync.Mutex
	closed   bool
	vms      map[int]*vm
	volumes  map[volumeKey]*volume
	tasks    map[string]*task
	pids     int
	digests  int
	tokens   map[string]*Account
	users    map[string]*Account
	tickets  map[string]ticket
	pools    map[string][]int
	offline  map[string]bool
	cached   map[int]map[string]any // figures of /cluster/resources
	cachedAt time.Time
	faults   []*Fault
	requests []Request
	problems []string
	timers   sync.WaitGroup
	conns    map[net.Conn]bool // of websockets
	screens  map[string]screen
}

// Request is what the server was asked for.
type Request struct {
	Method string
	Path   string // below /api2/json
	Params map[string]string
	User   string
	Status int
}

const (
	rootToken  = "root@pam!sdk"
	rootSecret = "00000000-0000-4000-8000-00000000abcd"
	rootUser   = "root@pam"
	rootWord   = "correct horse"
)

// New starts a server on a free port of the loopback interface.
func New(c Config) *Server {
	c.Nodes, c.Storages = slices.Clone(c.Nodes), slices.Clone(c.Storages)
	if len(c.Nodes) == 0 {
		c.Nodes = []Node{{Name: "pve1"}}
	}
	for i := range c.Nodes {
		if c.Nodes[i].CPUs == 0 {
			c.Nodes[i].CPUs = 16
		}
		if c.Nodes[i].Memory == 0 {
			c.Nodes[i].Memory = 64 << 30
		}
	}
	if len(c.Storages) == 0 {
		c.Storages = []Storage{{Name: "local"}}
	}
	for i := range c.Storages {
		st := &c.Storages[i]
		if st.Type == "" {
			st.Type = "dir"
		}
		if st.Content == "" {
			st.Content = "rootdir,vztmpl,snippets,images,backup,import,iso"
		}
		if st.Total == 0 {
			st.Total = 100 << 30
		}
	}
	if c.TaskTime == 0 {
		c.TaskTime = time.Millisecond
	}
	if c.Lag == 0 {
		c.Lag = 10 * time.Second
	}
	s := &Server{
		cfg: c,
		vms: make(map[int]*vm), volumes: make(map[volumeKey]*volume), tasks: make(map[string]*task), pids: 0x1100,
		tokens:  map[string]*Account{rootToken: {secret: rootSecret, root: true}},
		users:   map[string]*Account{rootUser: {secret: rootWord, root: true}},
		tickets: make(map[string]ticket), pools: map[string][]int{}, offline: make(map[string]bool),
		conns: make(map[net.Conn]bool), screens: make(map[string]screen),
	}
	s.routes = s.table()
	cert, ca, err := certificate()
	if err != nil {
		panic(err) // the machine has no randomness
	}
	s.ca = ca
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	s.listener = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(quiet{}, "", 0)}
	go func() { _ = s.http.Serve(s.listener) }()
	return s
}

// quiet drops what clients with broken connections make the server complain of.
type quiet struct{}

// Write implements io.Writer.
func (quiet) Write(p []byte) (int, error) { return len(p), nil }

// Close ends the server and waits until its tasks have.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	_ = s.http.Close()
	s.timers.Wait()
}

// URL is where the server listens, "https://127.0.0.1:port".
func (s *Server) URL() string { return "https://" + s.listener.Addr().String() }

// CA is the certificate of the authority that has signed the server's, as PEM.
func (s *Server) CA() []byte { return slices.Clone(s.ca) }

// Token is an API token with all rights, in the form "user@realm!name=secret".
func (s *Server) Token() string { return rootToken + "=" + rootSecret }

// User is a user with all rights.
func (s *Server) User() (name, password string) { return rootUser, rootWord }

// Requests returns what was asked for, and forgets it.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.requests
	s.requests = nil
	return out
}

// Problems lists the requests that Config.Check refused although the server's own tables took them.
func (s *Server) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.problems)
}

// SetOffline lets a node be off, or on again: requests that have to reach it are answered with 595.
func (s *Server) SetOffline(node string, off bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offline[node] = off
}

func certificate() (tls.Certificate, []byte, error) {
	now := time.Now()
	template := func(n int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), BasicConstraintsValid: true,
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	ca := template(1, "simulated cluster")
	ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf := template(2, "pve1")
	leaf.IPAddresses, leaf.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), nil
}

// apiError is an answer that says no.
type apiError struct {
	status int
	text   string            // the reason, and the message of the body
	fields map[string]string // of a 400
	empty  bool              // no body
}

// Error implements error.
func (e *apiError) Error() string { return e.text }

// no is the common answer that says no: 500 with a text.
func no(format string, args ...any) error {
	return &apiError{status: 500, text: fmt.Sprintf(format, args...)}
}

func badField(name, text string) error {
	return &apiError{status: 400, text: "Parameter verification failed.", fields: map[string]string{name: text}}
}

// call is a request on its way through the server.
type call struct {
	s      *Server
	method string
	path   string
	params map[string]string // with those of the path
	user   string            // "root@pam!sdk", "root@pam"
	who    *Account
	upload []byte
	http   *http.Request
}

func (c *call) vmid() int { n, _ := strconv.Atoi(c.params["vmid"]); return n }

// serve answers a request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/api2/json")
	c := &call{s: s, method: r.Method, path: path, http: r}
	if !ok {
		s.answer(w, c, nil, &apiError{status: 501, text: fmt.Sprintf("Method '%s %s' not implemented", r.Method, r.URL.Path)})
		return
	}
	if !slices.Contains([]string{"GET", "POST", "PUT", "DELETE"}, r.Method) {
		s.answer(w, c, nil, &apiError{status: 501, text: fmt.Sprintf("method '%s' not available", r.Method), empty: true})
		return
	}
	given, err := c.read()
	if err != nil {
		s.answer(w, c, nil, err)
		return
	}
	fault := s.fault(c.method, path)
	if s.before(w, c, fault, given) {
		return
	}
	data, err := s.handle(c, given)
	if fault.Twice || fault.Again {
		again := &call{s: s, method: c.method, path: c.path, http: r, upload: c.upload}
		if data2, err2 := s.handle(again, given); fault.Twice {
			data, err = data2, err2
		}
	}
	if s.after(w, fault) {
		return
	}
	if hijack, ok := data.(func(http.ResponseWriter)); ok && err == nil {
		hijack(w)
		return
	}
	s.answer(w, c, data, err)
}

// handle checks a request in the order in which the real server does, and carries it out.
func (s *Server) handle(c *call, given map[string]string) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, err := s.checked(c, given)
	status := 200
	var no *apiError
	if errors.As(err, &no) {
		status = no.status
	}
	logged := maps.Clone(c.params)
	if _, ok := logged["password"]; ok {
		logged["password"] = "***"
	}
	s.requests = append(s.requests, Request{Method: c.method, Path: c.path, Params: logged, User: c.user, Status: status})
	return data, err
}

func (s *Server) checked(c *call, given map[string]string) (any, error) {
	r, vars := s.find(c.method, c.path)
	if r == nil {
		return nil, &apiError{status: 501, text: fmt.Sprintf("Method '%s %s' not implemented", c.method, c.path)}
	}
	if err := s.authenticate(c, r); err != nil {
		return nil, err
	}
	c.params = vars
	if err := c.permitted(r.rights); err != nil {
		return nil, err
	}
	if n := vars["node"]; n != "" {
		if s.node(n) == nil {
			return nil, no("hostname lookup '%s' failed - failed to get address info for: %s: Temporary failure in name resolution", n, n)
		}
		if s.offline[n] {
			return nil, &apiError{status: 595, text: "No route to host", empty: true}
		}
	}
	c.params = maps.Clone(given)
	maps.Copy(c.params, vars)
	if err := check(r.params, c.params); err != nil {
		return nil, err
	}
	if s.cfg.Check != nil {
		if err := s.cfg.Check(c.method, r.pattern, c.params); err != nil {
			s.problems = append(s.problems, fmt.Sprintf("%s %s %v: %v", c.method, c.path, c.params, err))
		}
	}
	return r.handle(c)
}

func (s *Server) node(name string) *Node {
	for i := range s.cfg.Nodes {
		if s.cfg.Nodes[i].Name == name {
			return &s.cfg.Nodes[i]
		}
	}
	return nil
}

func (s *Server) storage(name string) *Storage {
	for i := range s.cfg.Storages {
		if s.cfg.Storages[i].Name == name {
			return &s.cfg.Storages[i]
		}
	}
	return nil
}

// answer writes an answer. net/http knows no reasons of one's own, in which the real server says what is wrong, so
// refusals are written by hand and end the connection.
func (s *Server) answer(w http.ResponseWriter, c *call, data any, err error) {
	var no *apiError
	if !errors.As(err, &no) {
		body := map[string]any{"data": data}
		if l, ok := data.(listed); ok {
			body = map[string]any{"data": l.data, "total": l.total}
		}
		b, e := json.Marshal(body)
		if e != nil {
			panic(e) // a handler has returned what JSON does not know
		}
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		_, _ = w.Write(b)
		return
	}
	conn, _, e := w.(http.Hijacker).Hijack()
	if e != nil {
		return
	}
	defer conn.Close()
	var body []byte
	head := ""
	if !no.empty {
		text := no.text
		if no.status != 501 {
			text += "\n"
		}
		v := map[string]any{"data": nil, "message": text}
		if no.fields != nil {
			v["errors"] = no.fields
		}
		body, _ = json.Marshal(v)
		head = "Content-Type: application/json;charset=UTF-8\r\n"
	}
	reason, _, _ := strings.Cut(no.text, "\n")
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s", no.status, reason, head, len(body), body)
}

// listed is a list with its length beside it.
type listed struct {
	data  any
	total int
}
