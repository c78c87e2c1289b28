package access

import (
	"context"
	"net/http"
)

// OwnPages refuses a request that a browser sends from another origin; one from a program passes. It is for what signs somebody in.
func OwnPages(r *http.Request) error { return notForeign(r) }

// KeyOf returns the key of the session that a cookie of the Guard's opens. It opens nothing.
func KeyOf(c *http.Cookie) string { return sessionKey(c.Value) }

// End ends a session by its key. One that has ended, or never was, is no error.
func (g *Guard) End(ctx context.Context, key string) error {
	_, err := g.SignOut(ctx, Who{Session: key})
	return err
}
