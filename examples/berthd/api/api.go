// Package api is berthd's REST interface: /api/v1, described by OpenAPI 3.1 at /openapi.json.
//
// It holds no state and decides nothing. Every command becomes one call of the SDK's Manager in the name of
// the caller, with the request's correlation id as its cause; every answer is a conversion of the Manager's
// records. Long commands answer 202 with an operation, which tells from the ledger how far they have come.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/edge"
	"github.com/berthage/berthage/examples/berthd/history"
	"github.com/berthage/berthage/examples/berthd/operation"
	"github.com/berthage/berthage/examples/berthd/passkey"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/examples/berthd/receivers"
	"github.com/berthage/berthage/examples/berthd/signin"
	"github.com/berthage/berthage/examples/berthd/trail"
	"github.com/berthage/berthage/pool"
)

// Config is what New needs.
type Config struct {
	Manager    *berthage.Manager
	Operations *operation.Log // follows the Manager's ledger
	Guard      *access.Guard
	Logger     *slog.Logger
	Version    string
	Drivers    map[string]string // kind of each driver, by its name: "simulated", "libvirt"
	URL        func() string     // under which the daemon can be reached, for sign-in links
	Drain      <-chan struct{}   // closed when event streams are to end
	CostWeight float64           // of the Manager's scheduler, for replays by another policy
	History    *history.History  // what was measured; nil: nothing is kept
	Keys       *receivers.Keys   // seal the secrets of receivers
	Desk       *signin.Desk      // where people sign in
	Providers  []signin.Provider // where else they do
	GuestUser  string            // of machines with registered keys whose owner has chosen none; empty: the image's
	Scratch    pool.Scratch      // knows when tokens were last used
	Maker      *receivers.Maker  // makes the notifiers of those that are checked or tried
	Trail      *trail.Reader     // the ledger as an audit log

	// Passkeys returns those of this dashboard; the error, a *pool.Error, says in Want what would have to be so for there to be any. nil: there are none.
	Passkeys func() (*passkey.Passkeys, error)
}

// api is what the handlers share.
type api struct {
	c        Config
	huma     huma.API
	began    time.Time
	streams  chan struct{} // a slot for each event stream
	planning chan struct{} // and for each plan that is being made
	plans    plans
	replays  replays
	routes   sync.Mutex // held while they are compared and changed
}

const prefix = "/api/v1"

// Register registers /api/v1 and /openapi.json.
func Register(mux *http.ServeMux, c Config) {
	a := &api{c: c, began: time.Now(), streams: make(chan struct{}, mostStreams), planning: make(chan struct{}, mostPlans)}
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	a.huma = humago.New(mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Berthage", Version: c.Version,
				Description: "Virtual machines on a fleet of mixed hosts: capacity, placement, quotas, instances and their lives. " +
					"Each operation says in x-authorization what it takes: a verb on a resource; what the caller may not see answers 404.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer":  {Type: "http", Scheme: "bearer", Description: "The daemon's own token, from the file that it names at its start; an API token; or the access token of a session."},
					"session": {Type: "apiKey", In: "cookie", Name: "berthd-session", Description: "The cookie of a signed-in browser; its name ends in a part of the ledger's identity. Commands must come from the daemon's own pages."},
				},
			},
			Security: []map[string][]string{{"bearer": {}}, {"session": {}}},
			Tags:     tags(),
		},
		OpenAPIPath:                  "/openapi",
		Formats:                      map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{a.transform},
	})
	a.huma.UseMiddleware(remember, a.carry)
	a.registerPool()
	a.registerHosts()
	a.registerMaintenance()
	a.registerCatalogue()
	a.registerProjects()
	a.registerQuotas()
	a.registerUsage()
	a.registerInstances()
	a.registerActions()
	a.registerChanges()
	a.registerClusters()
	a.registerReservations()
	a.registerConsole()
	a.registerOperations()
	a.registerEvents()
	a.registerMachines()
	a.registerWhatIf()
	a.registerReplays()
	a.registerRebalance()
	a.registerAlerts()
	a.registerSilences()
	a.registerRules()
	a.registerReceivers()
	a.registerRouting()
	a.registerMessages()
	a.registerHistory()
	a.registerAudit()
	a.registerStatus()
	a.registerSession()
	a.registerLogin()
	a.registerProviders(mux)
	a.registerMe()
	a.registerUsers()
	a.registerBindings()
	a.registerCredentials()
	a.registerPasskeys()
	a.registerTokens()
	a.registerKeys()
	a.describeProblems()
}

func tags() []*huma.Tag {
	return []*huma.Tag{
		{Name: "Pool", Description: "What the fleet has in all."},
		{Name: "Hosts", Description: "What runs instances. Hosts join when their driver reports them."},
		{Name: "Images", Description: "What instances boot, with one source per driver."},
		{Name: "Flavors", Description: "Named sizes."},
		{Name: "Projects", Description: "Tenants and their quotas."},
		{Name: "Instances", Description: "Virtual machines and containers in our books."},
		{Name: "Clusters", Description: "A number of instances of one spec, acted on as one."},
		{Name: "Reservations", Description: "Places that are held for a time, and become instances or a cluster when they are committed."},
		{Name: "Operations", Description: "How far a long command has come."},
		{Name: "Events", Description: "The ledger as it grows."},
		{Name: "Machines", Description: "What is on the hosts beside the books."},
		{Name: "Plans", Description: "What would be, how many hosts a demand takes, and moves that would gain something."},
		{Name: "Alerts", Description: "What is wrong, by which rules, who has taken it on, and what is not to be told."},
		{Name: "Messages", Description: "Who is told of alerts and events, in which way, and what became of it."},
		{Name: "History", Description: "What was measured of hosts and instances. Prometheus's own interface, /api/v1/query and its siblings, is there beside it, and is described by Prometheus."},
		{Name: "Users", Description: "People and service accounts, what they may do, and what they sign in with."},
		{Name: "Audit", Description: "Who has had what done, and the proof that it stands in the ledger."},
		{Name: "Daemon", Description: "The daemon itself, and who is signed in."},
	}
}

// Public reports whether a request needs no credentials: signing in is what gives them.
func Public(r *http.Request) bool {
	if r.URL.Path == prefix+"/login/passkey" {
		return slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut}, r.Method)
	}
	return atProvider(r) || r.Method == http.MethodPost && slices.Contains([]string{prefix + "/session", prefix + "/login", prefix + "/login/refresh"}, r.URL.Path)
}

// as returns the Manager in the name of the request's caller, which writes down what is asked for and sees whether it still may be.
func (a *api) as(ctx context.Context) *berthage.Manager {
	who, _ := access.From(ctx)
	return a.under(ctx, who.Warrant())
}

// lasting is as for what goes on after the request. It ends when a right is taken away, and not when a session does.
func (a *api) lasting(ctx context.Context) *berthage.Manager {
	who, _ := access.From(ctx)
	w := who.Warrant()
	w.By.Expires = time.Time{}
	return a.under(ctx, w)
}

func (a *api) under(ctx context.Context, w auth.Warrant) *berthage.Manager {
	who, _ := access.From(ctx)
	m := a.c.Manager.As(who.Actor, edge.From(ctx).ID).For(who.Actor)
	return trail.Beside(m, requestOf(ctx)).With(auth.Name, w)
}

type requestKey struct{}

// remember keeps the request for handlers that need more of it than huma hands over.
func remember(ctx huma.Context, next func(huma.Context)) {
	r, _ := humago.Unwrap(ctx)
	edge.From(r.Context()).Operation = ctx.Operation().OperationID
	next(huma.WithValue(ctx, requestKey{}, r))
}

func requestOf(ctx context.Context) *http.Request {
	r, _ := ctx.Value(requestKey{}).(*http.Request)
	return r
}

// transform turns what huma itself complains about into problems, gives every problem its request's id, and
// logs those that are ours.
func (a *api) transform(ctx huma.Context, _ string, v any) (any, error) {
	if m, ok := v.(*huma.ErrorModel); ok {
		v = fromHuma(m)
	}
	p, ok := v.(*problem.Problem)
	if !ok {
		if !a.sees(ctx.Context(), auth.Hosts) {
			v = bare(v)
		}
		return v, nil
	}
	id := edge.From(ctx.Context()).ID
	if p.Status >= 500 {
		a.c.Logger.Warn("request failed", "request_id", id, "problem", p.Type, "error", p.Cause)
	}
	if above, ok := p.Above(); ok {
		seen := false
		err := a.visible(ctx.Context(), auth.Projects, func(_ *pool.State, shows func(string, string) bool) { seen = shows(above, "") })
		if err != nil || !seen {
			p = p.Redacted()
		}
	}
	c := *p
	if c.Placement != nil && !a.sees(ctx.Context(), auth.Hosts) {
		c.Placement, c.Detail = c.Placement.Bare(), "no host fits"
	}
	c.RequestID = id
	return &c, nil
}

// fromHuma converts an error of huma's validation. Values are not echoed: they may be keys or user-data.
func fromHuma(m *huma.ErrorModel) *problem.Problem {
	kind := problem.Internal
	switch m.Status {
	case http.StatusBadRequest:
		kind = problem.Malformed
	case http.StatusUnprocessableEntity:
		kind = problem.SchemaViolation
	case http.StatusRequestEntityTooLarge:
		kind = problem.TooLarge
	case http.StatusUnsupportedMediaType:
		kind = problem.MediaType
	case http.StatusNotAcceptable:
		kind = problem.NotAcceptable
	case http.StatusRequestTimeout:
		kind = problem.Malformed
	}
	p := kind.New(m.Detail)
	p.Status = m.Status
	var errs []problem.Invalid
	for _, e := range m.Errors {
		if e != nil {
			errs = append(errs, problem.Invalid{Field: e.Location, Want: strings.Replace(e.Message, validation.MsgUnexpectedProperty, "no property of this name", 1)})
		}
	}
	if len(errs) > 0 {
		p.Detail, p.Field = errs[0].Field+": "+errs[0].Want, errs[0].Field
	}
	switch kind {
	case problem.TooLarge:
		p = edge.TooLarge("the body is larger")
	case problem.MediaType:
		p.Want = "application/json"
	case problem.Malformed:
		p.Want = "one JSON value"
	default:
		p.Errors = errs
		if len(errs) > 0 {
			p.Want = errs[0].Want
		}
	}
	return p
}

// unmarshal is json.Unmarshal with errors for people who do not know the daemon's Go types.
func unmarshal(b []byte, v any) error {
	err := json.Unmarshal(b, v)
	var t *json.UnmarshalTypeError
	var s *json.SyntaxError
	switch {
	case errors.As(err, &t):
		want := "a value of another type"
		if k := t.Type.Kind().String(); strings.HasPrefix(k, "int") {
			want = "a whole number from -9223372036854775808 to 9223372036854775807"
		}
		return fmt.Errorf("%s: %s is wanted", t.Field, want)
	case errors.As(err, &s):
		return fmt.Errorf("not JSON at byte %d: %w", s.Offset, s)
	case err != nil:
		return err
	}
	return once(json.NewDecoder(bytes.NewReader(b)))
}

// once refuses an object that has a name twice: the schema would be checked with the last, and the others
// would be read all the same. It reads one value of JSON that is known to be right.
func once(d *json.Decoder) error {
	t, err := d.Token()
	open, ok := t.(json.Delim)
	if !ok {
		return err
	}
	names := make(map[string]bool)
	for d.More() {
		if open == '{' {
			t, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := t.(string)
			if names[name] {
				return fmt.Errorf("the name %s stands twice in one object", pool.Quote(name))
			}
			names[name] = true
		}
		if err := once(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// describeProblems puts the problem's schema in the place of huma's own in every error of the description.
func (a *api) describeProblems() {
	o := a.huma.OpenAPI()
	schema := o.Components.Schemas.Schema(problemType(), true, "Problem")
	for _, item := range o.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if op == nil {
				continue
			}
			for _, r := range op.Responses {
				if m := r.Content["application/problem+json"]; m != nil {
					m.Schema = schema
				}
			}
		}
	}
	for _, name := range []string{"ErrorModel", "ErrorDetail"} {
		delete(o.Components.Schemas.Map(), name)
	}
}

// view returns what read finds in the books.
func view[T any](m *berthage.Manager, read func(*pool.State) T) T {
	var out T
	m.View(func(st *pool.State) { out = read(st) })
	return out
}

// describe returns the description of an operation, with the errors that every one can have.
func describe(id, method, path, tag, summary, description string, errs ...int) huma.Operation {
	errs = append(errs, http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable)
	if method != http.MethodGet {
		errs = append(errs, http.StatusForbidden)
	}
	if method == http.MethodPost || method == http.MethodPut {
		errs = append(errs, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	}
	slices.Sort(errs)
	return huma.Operation{
		OperationID: id, Method: method, Path: prefix + path, Tags: []string{tag},
		Summary: summary, Description: description, Errors: slices.Compact(errs), MaxBodyBytes: edge.MaxBody,
	}
}

// withExample gives the body of a request an example, which the tests send.
func withExample(op huma.Operation, example any) huma.Operation {
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Example: example}}}
	return op
}
