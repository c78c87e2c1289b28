package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
)

// Credential is what came with a request.
type Credential struct {
	Bearer string     `json:"-"`             // the token of an Authorization header, without the scheme
	From   netip.Addr `json:"from,omitzero"` // whom it came from, as far as that can be relied on
}

// String says nothing, so that a credential that is printed by mistake is no loss.
func (Credential) String() string { return "[credential]" }

// GoString is String.
func (Credential) GoString() string { return "[credential]" }

// Unauthenticated returns the refusal of an [Authenticator]; cause may be nil, and is for the log only.
func Unauthenticated(why Reason, cause error) error {
	return &Refusal{Kind: ErrUnauthenticated, Reason: why, Cause: cause}
}

// errOther is the cause by which an Authenticator leaves credentials to others.
var errOther = errors.New("credentials of another form")

// NotMine returns the refusal of an [Authenticator] of credentials whose form is not its own, so that [FirstOf] asks the next one.
func NotMine() error { return Unauthenticated(BadCredentials, errOther) }

// FirstOf returns an Authenticator that asks several, until one says something else than [NotMine].
func FirstOf(all ...Authenticator) Authenticator { return firstOf(slices.Clone(all)) }

type firstOf []Authenticator

func (all firstOf) Authenticate(ctx context.Context, c Credential) (Identity, error) {
	if c.Bearer == "" {
		return Identity{}, Unauthenticated(NoCredentials, nil)
	}
	for _, a := range all {
		id, err := a.Authenticate(ctx, c)
		if errors.Is(err, errOther) {
			continue
		}
		if err != nil {
			return Identity{}, err
		}
		return id, nil
	}
	return Identity{}, Unauthenticated(BadCredentials, nil)
}

// APITokens is an [Authenticator] of API tokens.
type APITokens struct {
	Prefix string // of its tokens; others are NotMine

	// State returns what is known now; an error lets nobody in.
	State func(ctx context.Context) (*State, error)

	// Used is where it is noted, to the hour, when a token was last used; nil: nowhere.
	Used pool.Scratch
}

// usedFor is how long it is known when a token was last used, and usedEvery how exactly.
const (
	usedFor   = 400 * 24 * time.Hour
	usedEvery = time.Hour
)

func usedKey(id string) string { return "auth/used/" + id }

// Authenticate implements Authenticator.
func (a APITokens) Authenticate(ctx context.Context, c Credential) (Identity, error) {
	prefix, id, ok := ParseToken(c.Bearer)
	if !ok || prefix != a.Prefix {
		return Identity{}, NotMine()
	}
	s, err := a.State(ctx)
	if err != nil {
		return Identity{}, err
	}
	t, known := s.Token(id)
	if !t.is(c.Bearer) || !known {
		return Identity{}, Unauthenticated(BadCredentials, nil)
	}
	p, _ := s.Principal(t.Principal)
	who := Identity{Principal: p.ID, Limits: slices.Clone(t.Limits), Generation: p.Generation, Token: t.ID, Expires: t.Expires}
	now := time.Now()
	if err := s.Good(who, now); err != nil {
		return Identity{}, err
	}
	if err := a.use(ctx, id, now); err != nil {
		return Identity{}, err
	}
	return who, nil
}

// use notes that a token is used.
func (a APITokens) use(ctx context.Context, id string, now time.Time) error {
	if a.Used == nil {
		return nil
	}
	now = now.UTC().Truncate(usedEvery)
	last, version, err := lastUsed(ctx, a.Used, id)
	if err != nil || !last.Before(now) {
		return err
	}
	_, err = a.Used.Put(ctx, usedKey(id), []byte(now.Format(time.RFC3339)), version, usedFor)
	if errors.Is(err, pool.ErrConflict) { // by somebody who has just used it too
		return nil
	}
	return err
}

// LastUsed returns when a token was last used, to the hour; the zero time if that is not known.
func (a APITokens) LastUsed(ctx context.Context, id string) (time.Time, error) {
	if a.Used == nil {
		return time.Time{}, nil
	}
	at, _, err := lastUsed(ctx, a.Used, id)
	return at, err
}

func lastUsed(ctx context.Context, used pool.Scratch, id string) (time.Time, int64, error) {
	b, version, err := used.Get(ctx, usedKey(id))
	if errors.Is(err, pool.ErrNotFound) {
		return time.Time{}, 0, nil
	}
	if err != nil {
		return time.Time{}, 0, err
	}
	at, err := time.Parse(time.RFC3339, string(b))
	if err != nil {
		return time.Time{}, 0, &pool.Error{Op: "read when a token was last used", Kind: pool.ErrCorrupt}
	}
	return at, version, nil
}

// StaticTokens is an [Authenticator] of bearer tokens that an operator has written into a configuration.
type StaticTokens struct {
	known []static
	state func(ctx context.Context) (*State, error)
}

type static struct {
	sum [sha256.Size]byte
	by  Identity
}

// MinStatic is how many bytes a static token has at least.
const MinStatic = 32

// NewStaticTokens returns a StaticTokens of tokens and whose they are. An Identity's Generation is that of its principal whenever it is used. State
// returns what is known now; an error lets nobody in.
func NewStaticTokens(tokens map[string]Identity, state func(ctx context.Context) (*State, error)) (*StaticTokens, error) {
	a := &StaticTokens{state: state}
	for text, by := range tokens {
		if len(text) < MinStatic || len(text) > 512 {
			return nil, invalid("token", "", "32 to 512 bytes, at random")
		}
		if by.Principal == "" {
			return nil, invalid("principal", "", "the principal whose token it is")
		}
		a.known = append(a.known, static{sha256.Sum256([]byte(text)), by})
	}
	return a, nil
}

// Authenticate implements Authenticator. It compares with all tokens, whichever is right.
func (a *StaticTokens) Authenticate(ctx context.Context, c Credential) (Identity, error) {
	sum := sha256.Sum256([]byte(c.Bearer))
	var by Identity
	for _, k := range a.known {
		if subtle.ConstantTimeCompare(sum[:], k.sum[:]) == 1 {
			by = k.by
		}
	}
	if by.Principal == "" {
		return Identity{}, NotMine()
	}
	s, err := a.state(ctx)
	if err != nil {
		return Identity{}, err
	}
	p, _ := s.Principal(by.Principal)
	by.Generation = p.Generation
	by.Groups, by.Limits = slices.Clone(by.Groups), slices.Clone(by.Limits)
	if err := s.Good(by, time.Now()); err != nil {
		return Identity{}, err
	}
	return by, nil
}
