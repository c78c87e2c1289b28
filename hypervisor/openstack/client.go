package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/berthage/berthage/hypervisor"
)

// service is a service of the cloud, as the catalogue calls it.
type service string

const (
	nova      service = "compute"
	glance    service = "image"
	neutron   service = "network"
	placement service = "placement"
)

// The microversions of the requests: the oldest that has what is needed, so that all clouds from the release Train
// (2019) on are served, and never a newer one by itself, as answers change with them. Nova's are 2.74 throughout:
//
//	servers             2.26 tags as a filter, 2.47 sizes with the server, 2.52 tags and 2.74 the target in a create
//	migrate, live       2.56 and 2.30 a target that the scheduler checks, 2.68 without force
//	rebuild             2.57 user data
//	remote-consoles     2.6 one form for all protocols
//	diagnostics         2.48 one form for all virt drivers
//	os-hypervisors      2.53 ids that are unique; from 2.88 on the sizes are missing
//	os-services         2.53
//	os-server-groups    2.64 one policy
//	flavors             2.61
//	limits              2.57
const (
	novaVersion      = "2.74"
	placementVersion = "1.12" // 1.9 usages of a project
)

func (s service) version() string {
	switch s {
	case nova:
		return novaVersion
	case placement:
		return placementVersion
	}
	return ""
}

// cloud is a connection to a cloud: one log-in, shared by all calls.
type cloud struct {
	config   Cloud
	timeouts Timeouts
	http     *transport

	mu       sync.Mutex
	login    *login    // the last one, which may be under way
	provider *provider // nil before the first success
	refused  time.Time // when a log-in was last refused
}

// login is one log-in; all who need it wait for it.
type login struct {
	done     chan struct{}
	provider *provider
	err      error
}

// provider is what a log-in gives.
type provider struct {
	client    *gophercloud.ProviderClient
	endpoints gophercloud.EndpointOpts
	project   string // its id; empty: the credential is not of a project

	mu       sync.Mutex
	services map[service]*gophercloud.ServiceClient // those that were needed so far
}

func newCloud(c Cloud, t Timeouts, next http.RoundTripper) *cloud {
	return &cloud{config: c, timeouts: t, http: newTransport(next, c.TLS, t)}
}

// connect returns the connection, logging in if that has not been done.
func (c *cloud) connect(ctx context.Context) (*provider, error) {
	c.mu.Lock()
	if c.provider != nil {
		defer c.mu.Unlock()
		return c.provider, nil
	}
	if time.Since(c.refused) < c.timeouts.Login {
		defer c.mu.Unlock()
		return nil, errRefusedLogin
	}
	l := c.login
	if l == nil {
		// It is nobody's own: whoever goes away leaves it to the others.
		l = &login{done: make(chan struct{})}
		c.login = l
		go c.logIn(l) // #nosec G118 -- see above; it has a time limit of its own
	}
	c.mu.Unlock()
	select {
	case <-l.done:
		return l.provider, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *cloud) logIn(l *login) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), 2*c.timeouts.Call, errNoAnswer)
	defer cancel()
	p, err := c.open(ctx)
	if err != nil {
		err = c.loginFailed(err)
	}
	c.mu.Lock()
	l.provider, l.err = p, err
	c.login, c.provider = nil, p
	c.mu.Unlock()
	close(l.done)
}

// loginFailed is the error of a log-in, which nothing may be repeated after for a while if it was refused: some clouds
// lock a user out.
func (c *cloud) loginFailed(err error) error {
	var code gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &code) && code.Actual == http.StatusUnauthorized {
		c.mu.Lock()
		c.provider, c.refused = nil, time.Now()
		c.mu.Unlock()
	}
	err = c.answered(err)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errNoAnswer
	}
	return refuse(hypervisor.ErrUnavailable, fmt.Errorf("log in: %w", err))
}

// open logs in and finds the services.
func (c *cloud) open(ctx context.Context) (*provider, error) {
	auth, endpoints := c.config.options()
	client, err := openstack.NewClient(auth.IdentityEndpoint)
	if err != nil {
		return nil, err
	}
	client.HTTPClient = http.Client{
		Transport: c.http,
		// A redirect would carry the token wherever it leads.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	client.UserAgent.Prepend("berthage")
	if err := openstack.Authenticate(ctx, client, auth); err != nil {
		return nil, err
	}
	p := &provider{client: client, endpoints: endpoints, services: make(map[service]*gophercloud.ServiceClient)}
	if said, ok := client.GetAuthResult().(tokens.CreateResult); ok {
		if project, err := said.ExtractProject(); err == nil && project != nil {
			p.project = project.ID
		}
	}
	return p, nil
}

// service returns the client of a service, which the library may first have to ask for its versions, without a context.
func (p *provider) service(ctx context.Context, s service) (*gophercloud.ServiceClient, error) {
	p.mu.Lock()
	sc := p.services[s]
	p.mu.Unlock()
	if sc != nil {
		return sc, nil
	}
	type result struct {
		sc  *gophercloud.ServiceClient
		err error
	}
	found := make(chan result, 1)
	go func() {
		find := openstack.NewComputeV2
		switch s {
		case glance:
			find = openstack.NewImageV2
		case neutron:
			find = openstack.NewNetworkV2
		case placement:
			find = openstack.NewPlacementV1
		}
		sc, err := find(p.client, p.endpoints)
		found <- result{sc, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-found:
		var missing *gophercloud.ErrEndpointNotFound
		if errors.As(r.err, &missing) {
			return nil, refuse(errors.ErrUnsupported, fmt.Errorf("the cloud's catalogue has no service %q in this region", s))
		}
		if r.err != nil {
			return nil, r.err
		}
		r.sc.Microversion = s.version()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.services[s] = r.sc
		return r.sc, nil
	}
}

// hidden is what must not stand in any error: the secrets of the credential and the present token.
func (c *cloud) hidden() []string {
	out := c.config.secrets()
	c.mu.Lock()
	p := c.provider
	c.mu.Unlock()
	if p != nil {
		if t := p.client.Token(); t != "" {
			out = append(out, t)
		}
	}
	return out
}

// session is one call of the Driver. It is used by one goroutine.
type session struct {
	ctx  context.Context
	d    *Driver
	call *call
}

func (d *Driver) session(ctx context.Context) *session {
	c := new(call)
	return &session{ctx: context.WithValue(ctx, callKey{}, c), d: d, call: c}
}

// apart returns a session for what may stay when the call fails.
func (s *session) apart() *session { return s.d.session(s.ctx) }

// request makes a request: of a path below the service's address, with a body and an answer in JSON where they are not nil.
func (s *session) request(to service, method, path string, body, into any) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	c := s.d.cloud
	p, err := c.connect(s.ctx)
	if err != nil {
		return err
	}
	sc, err := p.service(s.ctx, to)
	if err != nil {
		return c.answered(err)
	}
	_, err = sc.Request(s.ctx, method, sc.ResourceBaseURL()+path, &gophercloud.RequestOpts{
		JSONBody: body, JSONResponse: into, OkCodes: []int{200, 201, 202, 203, 204},
	})
	if err != nil && s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	return c.answered(err)
}

func (s *session) get(from service, path string, into any) error {
	return s.request(from, http.MethodGet, path, nil, into)
}

func (s *session) post(to service, path string, body, into any) error {
	return s.request(to, http.MethodPost, path, body, into)
}

// list reads all pages of a collection, whose name is the key in the answers. A page without it is no page, and a list that
// does not end an error: gophercloud's own pager takes the first for the end.
//
// Of the link to the next page only the query is used, as services behind proxies do not know under which address they
// are reached, and the token must not go anywhere else.
func list[T any](s *session, from service, path, key string, query url.Values) ([]T, error) {
	var out []T
	for seen := map[string]bool{}; ; {
		at := path
		if q := query.Encode(); q != "" {
			at += "?" + q
		}
		if seen[at] || len(seen) > 10_000 {
			return nil, fmt.Errorf("list %s: a page is its own successor: %w", key, errMalformed)
		}
		seen[at] = true
		var answer map[string]json.RawMessage
		if err := s.get(from, at, &answer); err != nil {
			return nil, err
		}
		var items []T
		raw, ok := answer[key]
		if !ok || json.Unmarshal(raw, &items) != nil {
			return nil, fmt.Errorf("list %s: %w", key, errMalformed)
		}
		out = append(out, items...)
		next, err := nextPage(answer, key)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", key, err)
		}
		if next == nil {
			return out, nil
		}
		query = next
	}
}

// nextPage returns the query of the next page: Nova and Neutron name it in a list of links, Glance as "next".
func nextPage(answer map[string]json.RawMessage, key string) (url.Values, error) {
	var address string
	var links []struct{ Rel, Href string }
	if raw, ok := answer[key+"_links"]; ok {
		if json.Unmarshal(raw, &links) != nil {
			return nil, errMalformed
		}
		for _, l := range links {
			if l.Rel == "next" {
				address = l.Href
			}
		}
	} else if raw, ok := answer["next"]; ok && json.Unmarshal(raw, &address) != nil {
		return nil, errMalformed
	}
	if address == "" {
		return nil, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.RawQuery == "" {
		return nil, errMalformed
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errMalformed
	}
	return q, nil
}
