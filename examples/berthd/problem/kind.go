package problem

import (
	"net/http"
	"slices"
)

// Kind is a kind of problem: the last part of its type URI.
type Kind string

// The kinds.
const (
	Malformed        Kind = "malformed"
	SchemaViolation  Kind = "schema-violation"
	InvalidValue     Kind = "invalid-value"
	Overflow         Kind = "overflow"
	UnknownReference Kind = "unknown-reference"
	KeyReused        Kind = "idempotency-key-reused"
	TooLarge         Kind = "too-large"
	MediaType        Kind = "unsupported-media-type"
	NotAcceptable    Kind = "not-acceptable"
	Unauthorized     Kind = "unauthorized"
	CrossSite        Kind = "cross-site"
	Throttled        Kind = "throttled"
	NotByRole        Kind = "not-by-role"
	NotOwn           Kind = "not-own"
	OutOfScope       Kind = "out-of-scope"
	OutOfLimits      Kind = "out-of-limits"
	NotByToken       Kind = "not-by-token"
	LocksOut         Kind = "locks-out"
	Forbidden        Kind = "forbidden"
	NoRoute          Kind = "no-such-path"
	Method           Kind = "method-not-allowed"
	NotFound         Kind = "not-found"
	Exists           Kind = "already-exists"
	InUse            Kind = "in-use"
	WrongState       Kind = "wrong-state"
	Changed          Kind = "changed"
	Expired          Kind = "expired"
	Released         Kind = "released"
	Committed        Kind = "committed"
	NoRoom           Kind = "no-room"
	OverQuota        Kind = "over-quota"
	Unsupported      Kind = "unsupported"
	Refused          Kind = "refused"
	Compacted        Kind = "compacted"
	Unavailable      Kind = "unavailable"
	OutcomeUnknown   Kind = "outcome-unknown"
	Stale            Kind = "stale"
	TooManyStreams   Kind = "too-many-streams"
	Internal         Kind = "internal"
)

// Explained is what the page of a kind says.
type Explained struct {
	Kind    Kind
	Status  int
	Title   string
	Meaning string // what it means and what to do
}

// Kinds returns all kinds in a fixed order.
func Kinds() []Explained {
	return []Explained{
		{Malformed, http.StatusBadRequest, "Malformed request", "The body is not one JSON value. Nothing was done; detail says where reading stopped."},
		{SchemaViolation, http.StatusUnprocessableEntity, "Request does not follow the schema", "A field is missing, unknown, of the wrong type or out of range. Nothing was done; errors lists every such field."},
		{InvalidValue, http.StatusUnprocessableEntity, "Invalid value", "A value can never be accepted as it is. Nothing was done; field says where it stands and want what would be right."},
		{Overflow, http.StatusUnprocessableEntity, "Size out of range", "A size, or a sum of sizes, exceeds what a 64-bit integer holds. Nothing was done."},
		{UnknownReference, http.StatusUnprocessableEntity, "Unknown name in the request", "The body names a project, image, flavor or host that does not exist. Nothing was done; field and value say which."},
		{KeyReused, http.StatusUnprocessableEntity, "Idempotency key used before", "The Idempotency-Key was used for a different launch in this project. Use a key of its own for each request, and the same key to repeat one."},
		{TooLarge, http.StatusRequestEntityTooLarge, "Body too large", "A body may have 1 MiB. It was not read."},
		{MediaType, http.StatusUnsupportedMediaType, "Unsupported media type", "Bodies are application/json."},
		{NotAcceptable, http.StatusNotAcceptable, "Not acceptable", "Answers are application/json."},
		{Unauthorized, http.StatusUnauthorized, "Not signed in", "The request carries neither a valid bearer token nor a valid session. The daemon's own token is in the file that the daemon names at its start; berthd link prints a link that signs a browser in."},
		{CrossSite, http.StatusForbidden, "Cross-site request", "A request with a session cookie came from another origin, or does not say from which. Programs should use the bearer token."},
		{Throttled, http.StatusTooManyRequests, "Too many wrong credentials", "Too many wrong tokens or codes came from this address. Wait as long as Retry-After says."},
		{NotByRole, http.StatusForbidden, "Not allowed to the role", "Nothing was done: none of the roles that you have where this lies allows it. Whoever administers the project can bind you to another."},
		{NotOwn, http.StatusForbidden, "Owned by somebody else", "Nothing was done: your role allows this with what is your own, and this is somebody else's."},
		{OutOfScope, http.StatusForbidden, "Outside of what you are bound to", "Nothing was done: it lies in another project, or in none, and no role of yours reaches there."},
		{OutOfLimits, http.StatusForbidden, "Not allowed to the token", "Nothing was done: you may do this, but not with this API token. Use another, or sign in."},
		{NotByToken, http.StatusForbidden, "Not with a token", "Nothing was done: no API token may do this. Sign in."},
		{LocksOut, http.StatusForbidden, "Nobody could administer any more", "Nothing was done: after this nobody would be admin of everything. Make somebody else admin first."},
		{Forbidden, http.StatusForbidden, "Not allowed", "Nothing was done: no role is bound to you that allows it, or nobody may."},
		{NoRoute, http.StatusNotFound, "No such path", "The API has no such path; /docs lists them all."},
		{Method, http.StatusMethodNotAllowed, "Method not allowed", "The path exists, but not with this method; Allow lists those that it has."},
		{NotFound, http.StatusNotFound, "Not found", "What the path names does not exist."},
		{Exists, http.StatusConflict, "Already exists", "A different thing of that name exists already."},
		{InUse, http.StatusConflict, "In use", "It cannot be removed while something depends on it."},
		{WrongState, http.StatusConflict, "Not possible in this state", "The thing exists, but its present state does not allow the command."},
		{Changed, http.StatusPreconditionFailed, "Changed since", "Somebody has changed it since you have looked: it is not the version that If-Match names. Nothing was done; get it again, and decide anew."},
		{Expired, http.StatusGone, "Reservation expired", "The reservation was not committed in time, and its places have been given back. Reserve anew, with another Idempotency-Key."},
		{Released, http.StatusGone, "Reservation released", "The reservation was released before it was committed. Reserve anew, with another Idempotency-Key."},
		{Committed, http.StatusConflict, "Reservation committed", "The reservation has become an instance or a cluster; delete that if it is not wanted."},
		{NoRoom, http.StatusConflict, "No host fits", "No host can take the request as it is. placement says for every host which constraint failed first and by how much, and the nearest change that would make it fit."},
		{OverQuota, http.StatusForbidden, "Over quota", "The project may not take this much; quota says for every class what was asked, used and free."},
		{Unsupported, http.StatusNotImplemented, "Not supported by the host", "The driver of this host does not offer this; want says what would be needed. The host's capabilities say what it offers."},
		{Refused, http.StatusBadGateway, "Refused by the hypervisor", "The hypervisor answered, and said no."},
		{Compacted, http.StatusGone, "History archived", "Events that old have moved to the archive. Read the present state and follow from its revision."},
		{Unavailable, http.StatusServiceUnavailable, "Unavailable", "The ledger or a hypervisor cannot be reached. Nothing was done; repeat the request after Retry-After."},
		{OutcomeUnknown, http.StatusServiceUnavailable, "Outcome unknown", "It is not known whether the request was carried out. Repeat it, a launch or the creation of a cluster with the same Idempotency-Key: nothing is done twice."},
		{Stale, http.StatusServiceUnavailable, "Read-only", "A newer version has written to the ledger, which this daemon cannot follow. It answers questions and takes no commands."},
		{TooManyStreams, http.StatusServiceUnavailable, "Too many event streams", "The daemon serves only so many event streams at the same time. Close one, or repeat after Retry-After."},
		{Internal, http.StatusInternalServerError, "Internal error", "Something went wrong that should not. The daemon's log says what, under the request's id."},
	}
}

// Path is where the explanations are.
const Path = "/problems/"

// Explain returns the explanation of a kind; ok is false when there is no such kind.
func Explain(k Kind) (e Explained, ok bool) {
	all := Kinds()
	i := slices.IndexFunc(all, func(e Explained) bool { return e.Kind == k })
	if i < 0 {
		return Explained{}, false
	}
	return all[i], true
}

// New returns a problem of that kind.
func (k Kind) New(detail string) *Problem {
	e, ok := Explain(k)
	if !ok {
		e, _ = Explain(Internal)
	}
	return &Problem{Type: Path + string(e.Kind), Title: e.Title, Status: e.Status, Detail: detail}
}
