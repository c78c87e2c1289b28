package oidc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// Fault is what is wrong with a log-in: the cause of the *auth.Refusal that Finish returns. It is for the log, and has nothing in it that the
// browser or the provider has sent.
type Fault string

// Error implements error.
func (f Fault) Error() string { return "oidc: " + string(f) }

// The faults of callbacks.
const (
	BadCallback Fault = "the callback is malformed, too long, or of another path"
	NotBegun    Fault = "this browser has begun no log-in, or too long ago, or has finished it"
	WrongState  Fault = "the callback is of another log-in"
	OtherIssuer Fault = "the callback is of another provider"
	Denied      Fault = "the provider has refused"
)

// The faults of ID tokens and of what comes with them.
const (
	NoToken       Fault = "the provider has sent no ID token"
	BadToken      Fault = "the ID token is malformed or too long" // #nosec G101 -- a text
	BadAlgorithm  Fault = "the ID token is signed with an algorithm that is not allowed"
	UnknownKey    Fault = "the ID token is signed with a key that the provider does not have"
	BadSignature  Fault = "the signature of the ID token is not right"
	WrongIssuer   Fault = "the ID token is of another issuer"
	WrongAudience Fault = "the ID token is for another client"
	WrongSubject  Fault = "the subject is missing, malformed or somebody else's"
	WrongNonce    Fault = "the ID token is of another log-in"
	ExpiredToken  Fault = "the ID token has expired"
	NotYet        Fault = "the ID token is not good yet"
	IssuedEarly   Fault = "the ID token was issued before the log-in began"
	WrongHash     Fault = "the access token is not the one that the ID token was issued with"
	BadClaims     Fault = "a claim that is used is malformed"
	TooManyGroups Fault = "there are more groups than can be taken"
	BadUserinfo   Fault = "what the provider says of the user is malformed"
)

// refused returns the refusal for a fault.
func refused(f Fault) error {
	why := auth.BadCredentials
	if f == ExpiredToken {
		why = auth.Expired
	}
	return auth.Unauthenticated(why, f)
}

// denied is the refusal of a provider's own, with its code if it is one that the standards have.
func denied(code string) error {
	if !slices.Contains(errorCodes(), code) {
		code = "with a code that is not known"
	}
	return auth.Unauthenticated(auth.BadCredentials, fmt.Errorf("%w: %s", Denied, code))
}

// errorCodes are those of RFC 6749, sections 4.1.2.1 and 5.2, and of OpenID Connect Core 1.0, section 3.1.2.6.
func errorCodes() []string {
	return []string{
		"invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope", "server_error", "temporarily_unavailable",
		"invalid_client", "invalid_grant", "unsupported_grant_type",
		"interaction_required", "login_required", "account_selection_required", "consent_required", "invalid_request_uri", "invalid_request_object",
		"request_not_supported", "request_uri_not_supported", "registration_not_supported",
	}
}

// unavailable is the error of a provider that cannot be used now, or not as it is.
func (p *Provider) unavailable(op, field, want string, cause error) error {
	return &pool.Error{Op: op + " " + p.c.Name, Kind: pool.ErrUnavailable, Field: field, Want: want, Cause: cause}
}

// Why a request has come to nothing. What net/http says of it can hold what the provider has sent.
var (
	errConnect  = errors.New("no connection")
	errAnswer   = errors.New("no answer that can be read")
	errTooLarge = errors.New("the answer is too large")
	errStatus   = errors.New("the answer is an error")
)

// reason returns what can be told of an error of a request.
func reason(err error) error {
	var (
		cert  *tls.CertificateVerificationError
		large *http.MaxBytesError
		op    *net.OpError
		slow  net.Error
	)
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, notify.ErrForbidden):
		if errors.As(err, &op) {
			return op.Err // the guard's, which names the address
		}
		return notify.ErrForbidden
	case errors.As(err, &large):
		return errTooLarge
	case errors.As(err, &cert):
		return cert.Err
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return context.DeadlineExceeded
	case errors.As(err, &op):
		return errConnect
	case errors.Is(err, errStatus), errors.Is(err, errAnswer):
		return err
	}
	return errAnswer
}
