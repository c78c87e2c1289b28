package pvetest

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Account is a user or a token.
type Account struct {
	secret string
	root   bool
	rights map[string][]string // privileges by path; they hold below it too
	only   map[string][]string // privileges by path, which replace those from above
}

// ticket is a session.
type ticket struct {
	user  string
	csrf  string
	until time.Time
}

// AddToken makes an API token with privileges by path, such as "/vms": {"VM.Audit"}, which hold for what is below the
// path too, and returns it.
func (s *Server) AddToken(id string, rights map[string][]string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &Account{secret: rand.Text(), rights: maps.Clone(rights)}
	s.tokens[id] = a
	return id + "=" + a.secret
}

// Restrict replaces a token's privileges at one path and below, as an access rule of its own there does.
func (s *Server) Restrict(token, path string, privileges ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _, _ := strings.Cut(token, "=")
	a := s.tokens[id]
	if a.root {
		a.root, a.rights = false, map[string][]string{"/": everyPrivilege()}
	}
	if a.only == nil {
		a.only = make(map[string][]string)
	}
	a.only[path] = slices.Clone(privileges)
}

// ExpireTickets ends all sessions.
func (s *Server) ExpireTickets() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tickets)
}

// everyPrivilege lists all privileges.
func everyPrivilege() []string {
	return strings.Fields("Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit Group.Allocate Mapping.Audit " +
		"Mapping.Modify Mapping.Use Permissions.Modify Pool.Allocate Pool.Audit Realm.Allocate Realm.AllocateUser SDN.Allocate SDN.Audit SDN.Use " +
		"Sys.AccessNetwork Sys.Audit Sys.Console Sys.Incoming Sys.Modify Sys.PowerMgmt Sys.Syslog User.Modify VM.Allocate VM.Audit VM.Backup " +
		"VM.Clone VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk VM.Config.HWType VM.Config.Memory VM.Config.Network " +
		"VM.Config.Options VM.Console VM.GuestAgent.Audit VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite " +
		"VM.GuestAgent.Unrestricted VM.Migrate VM.PowerMgmt VM.Replicate VM.Snapshot VM.Snapshot.Rollback")
}

// at returns the privileges at a path.
func (a *Account) at(path string) []string {
	if a.root {
		return everyPrivilege()
	}
	for p := path; ; {
		if only, ok := a.only[p]; ok {
			return only
		}
		if p == "/" {
			break
		}
		if p = p[:strings.LastIndexByte(p, '/')]; p == "" {
			p = "/"
		}
	}
	var out []string
	for p, list := range a.rights {
		if p == "/" || p == path || strings.HasPrefix(path, p+"/") {
			out = append(out, list...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (a *Account) may(path, privilege string) bool { return slices.Contains(a.at(path), privilege) }

// authenticate finds out who asks.
func (s *Server) authenticate(c *call, r *route) error {
	denied := &apiError{status: 401, text: "Authentication failed!", empty: true}
	if h := c.http.Header.Get("Authorization"); h != "" {
		id, secret, ok := strings.Cut(strings.TrimPrefix(h, "PVEAPIToken="), "=")
		a := s.tokens[id]
		if !ok || a == nil || a.secret != secret {
			return denied
		}
		c.user, c.who = id, a
		if r.ticketOnly {
			return &apiError{status: 403, text: fmt.Sprintf("Permission check failed (URI '%s' not available with API token, need proper ticket.\n)", c.path)}
		}
		return nil
	}
	if r.world {
		return nil
	}
	cookie, err := c.http.Cookie("PVEAuthCookie")
	if err != nil {
		return &apiError{status: 401, text: "No ticket", empty: true}
	}
	t, ok := s.tickets[cookie.Value]
	if !ok || time.Now().After(t.until) {
		return &apiError{status: 401, text: "permission denied - invalid PVE ticket", empty: true}
	}
	if c.method != http.MethodGet && c.http.Header.Get("CSRFPreventionToken") != t.csrf {
		return &apiError{status: 401, text: "Permission denied - invalid csrf token", empty: true}
	}
	c.user, c.who = t.user, s.users[t.user]
	return nil
}

// permitted judges the rights that a method asks for: "/vms/{vmid} VM.Clone, ..." where one of several privileges
// separated by "|" suffices.
func (c *call) permitted(rights string) error {
	for _, need := range strings.Split(rights, ",") {
		path, list, ok := strings.Cut(strings.TrimSpace(need), " ")
		if !ok {
			continue
		}
		for k, v := range c.params {
			path = strings.ReplaceAll(path, "{"+k+"}", v)
		}
		all := strings.Split(list, "|")
		if !slices.ContainsFunc(all, func(p string) bool { return c.who.may(path, p) }) {
			return &apiError{status: 403, text: fmt.Sprintf("Permission check failed (%s, %s)", path, strings.Join(all, "|"))}
		}
	}
	return nil
}

func (s *Server) login(c *call) (any, error) {
	a := s.users[c.params["username"]]
	if a == nil || a.secret != c.params["password"] {
		return nil, &apiError{status: 401, text: "authentication failure", empty: true}
	}
	t := ticket{user: c.params["username"], csrf: "CSRF:" + rand.Text(), until: time.Now().Add(2 * time.Hour)}
	name := "PVE:" + t.user + ":" + rand.Text()
	s.tickets[name] = t
	return map[string]any{"ticket": name, "CSRFPreventionToken": t.csrf, "username": t.user}, nil
}

func (s *Server) permissions(c *call) (any, error) {
	out := make(map[string]map[string]int)
	paths := strings.Fields("/ /access /access/groups /nodes /pool /sdn /storage /vms")
	for p := range c.who.only {
		paths = append(paths, p)
	}
	for p := range c.who.rights {
		paths = append(paths, p)
	}
	if p := c.params["path"]; p != "" {
		paths = []string{p}
	}
	for _, p := range paths {
		privileges := c.who.at(p)
		if _, own := c.who.only[p]; len(privileges) == 0 && !own {
			continue
		}
		out[p] = make(map[string]int)
		for _, v := range privileges {
			out[p][v] = 1
		}
	}
	return out, nil
}

func (s *Server) newToken(c *call) (any, error) {
	id := c.params["userid"] + "!" + c.params["tokenid"]
	if s.tokens[id] != nil {
		return nil, badField("tokenid", "Token already exists.")
	}
	a := &Account{secret: rand.Text()}
	s.tokens[id] = a
	return map[string]any{"full-tokenid": id, "info": map[string]any{"privsep": orElse(c.params["privsep"], "1")}, "value": a.secret}, nil
}

func orElse(v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	return v
}
