package edge

import (
	"net/http"
	"strings"

	"github.com/berthage/berthage/examples/berthd/problem"
)

// Route serves what is registered on the mux and notes the pattern. Paths and methods that are not get a
// problem.
func Route(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note := From(r.Context())
		if _, pattern := mux.Handler(r); pattern != "" {
			note.Pattern = pattern
			mux.ServeHTTP(w, r)
			return
		}
		p := problem.NoRoute.New("there is nothing at this path")
		if allow := methods(mux, r); len(allow) > 0 {
			p = problem.Method.New(r.Method + " is not possible here")
			p.Want = strings.Join(allow, " or ")
			w.Header().Set("Allow", strings.Join(allow, ", "))
		}
		p.RequestID = note.ID
		p.Write(w)
	})
}

// methods returns the methods that the path of a request has.
func methods(mux *http.ServeMux, r *http.Request) []string {
	var out []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		other := *r
		other.Method = m
		if _, pattern := mux.Handler(&other); pattern != "" {
			out = append(out, m)
		}
	}
	return out
}
