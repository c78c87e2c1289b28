package proxmox

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	ticketAge = time.Hour   // a ticket is valid for two
	sulk      = time.Minute // after a log-in that was refused the next is not tried sooner: some servers block addresses
)

// auth proves to the API who asks.
type auth struct {
	t     *transport
	base  string
	token string

	user, password string
	turn           chan struct{} // holds one element while somebody logs in

	mu      sync.Mutex
	session entry
	refused error // of the last log-in
	until   time.Time
}

// entry is a ticket with what changes need beside it.
type entry struct {
	ticket, csrf string
	made         time.Time
}

// sign adds the proof to a request, and returns the ticket that it used.
func (a *auth) sign(req *http.Request) (string, error) {
	if a.token != "" {
		req.Header.Set("Authorization", "PVEAPIToken="+a.token)
		return "", nil
	}
	s, err := a.current(req.Context())
	if err != nil {
		return "", err
	}
	req.Header.Set("Cookie", "PVEAuthCookie="+s.ticket)
	if req.Method != http.MethodGet {
		req.Header.Set("CSRFPreventionToken", s.csrf)
	}
	return s.ticket, nil
}

// renew forgets the ticket that a server did not accept, and reports whether there can be another.
func (a *auth) renew(ticket string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.session.ticket == ticket {
		a.session = entry{}
	}
	return a.token == ""
}

func (a *auth) known() (entry, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused != nil && time.Now().Before(a.until) {
		return entry{}, a.refused
	}
	if time.Since(a.session.made) > ticketAge {
		return entry{}, nil
	}
	return a.session, nil
}

// current returns a session, logging in where there is none. One does so at a time.
func (a *auth) current(ctx context.Context) (entry, error) {
	if s, err := a.known(); err != nil || s.ticket != "" {
		return s, err
	}
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return entry{}, &lostError{cause: ctx.Err()}
	}
	defer func() { <-a.turn }()
	if s, err := a.known(); err != nil || s.ticket != "" {
		return s, err
	}
	s, err := a.login(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = nil
	var no *answerError
	if errors.As(err, &no) && no.status == http.StatusUnauthorized {
		a.refused, a.until = err, time.Now().Add(sulk)
	}
	a.session = s
	return s, err
}

func (a *auth) login(ctx context.Context) (entry, error) {
	form := url.Values{"username": {a.user}, "password": {a.password}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+"/api2/json/access/ticket", strings.NewReader(form.Encode()))
	if err != nil {
		return entry{}, &lostError{cause: err}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := a.t.exchange(req)
	var lost *lostError
	if errors.As(err, &lost) {
		return entry{}, &lostError{cause: lost.cause} // whatever it was, the request itself has not been sent
	}
	if err != nil {
		return entry{}, err
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return entry{}, &lostError{cause: err}
	}
	var said struct {
		Data struct {
			Ticket string `json:"ticket"`
			CSRF   string `json:"CSRFPreventionToken"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &said) != nil || said.Data.Ticket == "" || said.Data.CSRF == "" {
		return entry{}, &lostError{cause: errors.New("the log-in was answered without a ticket; a second factor cannot be given")}
	}
	return entry{said.Data.Ticket, said.Data.CSRF, time.Now()}, nil
}
