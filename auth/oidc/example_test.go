package oidc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/oidc"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// Two routes have people log in. The session that follows is the platform's own.
func Example() {
	provider, err := oidc.New(oidc.Config{
		Name: "corp", Issuer: "https://id.example/realms/corp", ClientID: "berthage", Secret: notify.NewSecret("from a file"),
		Redirect: "https://berthage.example/login/corp", Scratch: pool.NewMemoryScratch(), GroupsClaim: "groups",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	state := auth.New(nil) // of the ledger
	people := oidc.People{
		State:  func(context.Context) (*auth.State, error) { return state, nil },
		Commit: func(context.Context, auth.Command) error { return nil }, // to the ledger
	}

	routes := http.NewServeMux()
	cookie := http.Cookie{Name: "__Host-login", Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	routes.HandleFunc("POST /login/corp", func(w http.ResponseWriter, r *http.Request) {
		to, pending, err := provider.Begin(r.Context())
		if err != nil {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		c := cookie
		c.Value, c.MaxAge = string(pending), int(oidc.Patience.Seconds())
		http.SetCookie(w, &c)
		http.Redirect(w, r, to, http.StatusSeeOther)
	})
	routes.HandleFunc("GET /login/corp", func(w http.ResponseWriter, r *http.Request) {
		var pending oidc.Pending
		if c, err := r.Cookie(cookie.Name); err == nil {
			pending = oidc.Pending(c.Value)
		}
		claims, err := provider.Finish(r.Context(), pending, r.URL)
		if err == nil {
			_, err = people.Enter(r.Context(), claims) // an auth.Identity, for auth/session
		}
		if err != nil {
			fmt.Println(err)
			http.Error(w, "not logged in", http.StatusForbidden)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})

	w := httptest.NewRecorder() // somebody is sent here by somebody else
	routes.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/login/corp?code=theirs&state=theirs", nil))
	fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	// Output:
	// not authenticated: the credentials are not right
	// 403 not logged in
}

// What groups may is bound in the ledger, by the provider's name and theirs.
func ExampleClaims() {
	c := oidc.Claims{Provider: "corp", Issuer: "https://id.example", Subject: "248289761001", Username: "ada", Groups: []string{"corp:operators"}}
	b := auth.Binding{ID: "ops", Group: c.Groups[0], Role: auth.Operator, Scope: auth.Scope{Everything: true}}
	text, err := json.Marshal(b)
	fmt.Println(c, string(text), err)
	// Output:
	// [oidc-gnhrwh7jssycatd46bwl3x2ygiigewqt] {"id":"ops","group":"corp:operators","role":"operator","scope":{"everything":true}} <nil>
}
