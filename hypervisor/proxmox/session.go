package proxmox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage/hypervisor"
)

// sideBySide is how many requests one call makes at the same time; a server has few workers.
const sideBySide = 4

// session is one call of the Driver. Its requests that change something are made by one goroutine.
type session struct {
	*Driver
	ctx     context.Context
	changed bool // a request that changes something may have been carried out
}

func (d *Driver) session(ctx context.Context) *session { return &session{Driver: d, ctx: ctx} }

// params are the parameters of a request.
type params map[string]any

// get asks for something. What is not answered is asked for twice more.
func (s *session) get(path string, query url.Values, out any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return s.read(func(ctx context.Context) error { return s.lib.Get(ctx, path, out) })
}

// read makes a request that changes nothing.
func (s *session) read(request func(ctx context.Context) error) error {
	for try := 0; ; try++ {
		err := s.once(request)
		if err == nil || try == 2 || s.ctx.Err() != nil || kindOf(err, false) != hypervisor.ErrUnavailable || says401(err) {
			return err
		}
		if e := pause(s.ctx, time.Duration(try+1)*100*time.Millisecond); e != nil {
			return err
		}
	}
}

func says401(err error) bool {
	var no *answerError
	return errors.As(err, &no) && no.status == http.StatusUnauthorized
}

// once makes a request in the time that one may take.
func (s *session) once(request func(ctx context.Context) error) error {
	if err := s.ctx.Err(); err != nil {
		return &lostError{cause: err}
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Timeouts.Call)
	defer cancel()
	err := plain(s.ctx, request(ctx))
	if err != nil && ctx.Err() != nil && s.ctx.Err() == nil {
		var lost *lostError
		if errors.As(err, &lost) {
			return &lostError{sent: lost.sent, cause: errNoAnswer}
		}
	}
	return err
}

// change makes a request that changes something, once. out takes what it returns, as it is.
func (s *session) change(method, path string, p params, out any) error {
	var body any // of no parameters there is none: the library would send the word null
	if len(p) > 0 {
		body = p
	}
	err := s.once(func(ctx context.Context) error {
		switch method {
		case http.MethodPost:
			return s.lib.Post(ctx, path, body, out)
		case http.MethodPut:
			return s.lib.Put(ctx, path, body, out)
		}
		if len(p) > 0 {
			return s.lib.DeleteWithParams(ctx, path, p, out)
		}
		return s.lib.Delete(ctx, path, out)
	})
	if err == nil || kindOf(err, true) == hypervisor.ErrUnknown {
		s.changed = true
	}
	return err
}

// begin makes a request that starts a task and returns the task's id.
func (s *session) begin(method, path string, p params) (upid string, err error) {
	err = s.change(method, path, p, &upid)
	return upid, err
}

// do makes a request that starts a task, and waits until it has ended.
func (s *session) do(method, path string, p params) error {
	upid, err := s.begin(method, path, p)
	if err != nil {
		return err
	}
	return s.wait(upid)
}

// wait waits until a task has ended and returns what has become of it: nil, a taskError, or an error that leaves it open.
func (s *session) wait(upid string) error {
	parts := strings.Split(upid, ":")
	if len(parts) < 8 || parts[0] != "UPID" || !validNode(parts[1]) { // an answer of 200 alone proves nothing
		return &lostError{sent: true, cause: errors.New("the answer names no task")}
	}
	path := "/nodes/" + parts[1] + "/tasks/" + url.PathEscape(upid) + "/status"
	deadline := time.Now().Add(s.cfg.Timeouts.Task)
	for step := 5 * time.Millisecond; ; step = min(2*step, time.Second) {
		var t struct {
			Status string `json:"status"`
			Exit   string `json:"exitstatus"`
		}
		err := s.get(path, nil, &t)
		switch {
		case err != nil:
			return &hypervisor.Error{Kind: hypervisor.ErrUnknown, Cause: fmt.Errorf("what has become of a task is not known: %w", err)}
		case t.Status == "stopped" && t.Exit == "OK":
			return nil
		case t.Status == "stopped" && strings.HasPrefix(t.Exit, "WARNINGS: "):
			s.cfg.Logger.Warn("a task has ended with warnings", "task", parts[5], "guest", harmless(parts[6]), "status", harmless(t.Exit))
			return nil
		case t.Status == "stopped":
			return &taskError{t.Exit}
		}
		if time.Now().After(deadline) {
			return refuse(hypervisor.ErrUnknown, errors.New("a task has not ended in time"))
		}
		if err := pause(s.ctx, step); err != nil {
			return refuse(hypervisor.ErrUnknown, err)
		}
	}
}

// settle returns err, or nil where err leaves open what was done and a look shows within Timeouts.Settle that it was.
func (s *session) settle(err error, done func() (bool, error)) error {
	if err == nil || kindOf(err, true) != hypervisor.ErrUnknown {
		return err
	}
	deadline := time.Now().Add(s.cfg.Timeouts.Settle)
	for s.ctx.Err() == nil {
		if ok, e := done(); e == nil && ok {
			return nil
		} else if e != nil && kindOf(e, false) != hypervisor.ErrUnavailable && kindOf(e, false) != hypervisor.ErrUnknown {
			return e
		}
		if time.Now().After(deadline) || pause(s.ctx, 100*time.Millisecond) != nil {
			break
		}
	}
	return err
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// each calls f for the numbers below n, some at the same time, and returns the first error.
func each(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, sideBySide)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(i)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// permitted looks whether the driver may see everything: a server leaves out of its lists what one may not see. The
// privileges are by path; what is below a path must have them too.
func (s *session) permitted(need map[string]string) error {
	var have map[string]map[string]number
	if err := s.get("/access/permissions", nil, &have); err != nil {
		return err
	}
	var missing []string
	for _, path := range slices.Sorted(maps.Keys(need)) {
		privilege := need[path]
		at, ok := have[path]
		if !ok {
			at = have["/"]
		}
		if at[privilege] == 0 { // 0 too is a right that does not hold for what is below
			missing = append(missing, privilege+" on "+path)
			continue
		}
		for _, below := range slices.Sorted(maps.Keys(have)) {
			if _, ok := have[below][privilege]; strings.HasPrefix(below, path+"/") && !ok {
				missing = append(missing, privilege+" on "+harmless(below))
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return refuse(hypervisor.ErrRefused, fmt.Errorf("lists would be shortened, since rights are missing: %s", strings.Join(missing[:min(len(missing), 10)], ", ")))
}
