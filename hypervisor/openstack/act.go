package openstack

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// step is what to do with a server in the state in which it is: one of nothing, as it is what it should be; a request;
// or an error. wait is none of them: look again.
type step struct {
	done bool
	wait bool
	act  func() error
	err  error
}

func done() step                     { return step{done: true} }
func refused(kind, cause error) step { return step{err: refuse(kind, cause)} }

// action is the step of sending a server one of Nova's actions.
func (s *session) action(v *server, name string, arguments any) step {
	return step{act: func() error { return s.send(v.ID, name, arguments) }}
}

// send sends an action.
func (s *session) send(id, name string, arguments any) error {
	return s.post(nova, "servers/"+url.PathEscape(id)+"/action", map[string]any{name: arguments}, nil)
}

// Bounds of bring.
const (
	conflicts = 5  // times that Nova may say that the server is in another state than it has just shown
	stills    = 12 // looks at a server in which nothing happens after an action
)

// bring leads a server from state to state until next says that it is where it should be. Nova answers an action before it
// has been carried out, so an answer proves nothing: what is looked at is the server, when Nova is not at work on it.
//
// next sees nil when the server is gone. Nova may not find a server in the first moments of its life, nor list what is
// long there, so a conflict or a 404 is a reason to look again. So is an answer that is lost: when something happens then,
// the action has arrived.
func (s *session) bring(id string, next func(v *server) step) error {
	deadline := time.Now().Add(s.d.config.Timeouts.Wait)
	from, still, conflict := "", 0, 0
	var doubt error // of the last action
	began := ""     // the status before the first
	for n := 0; ; n++ {
		if n > 0 {
			if err := pause(s.ctx, s.d.config.poll(n)); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return refuse(hypervisor.ErrUnknown, fmt.Errorf("not done by Nova within %v", s.d.config.Timeouts.Wait))
		}
		v, err := s.server(id)
		if err != nil {
			return err
		}
		if v != nil && v.busy() {
			still = 0
			continue
		}
		do := next(v)
		if do.done {
			return nil
		}
		if do.err != nil {
			return s.halfway(v, began, do.err)
		}
		if do.wait {
			continue
		}
		if v.Status == from {
			// The last action has not changed anything, or not yet.
			if still++; still < stills {
				continue
			}
			if doubt != nil {
				return doubt
			}
			return s.halfway(v, began, refuse(hypervisor.ErrRefused, s.failure(v)))
		}
		doubt, began = nil, orDefault(began, v.Status)
		switch err := do.act(); {
		case err == nil:
			from, still = v.Status, 0
		case s.ctx.Err() == nil && s.call.lost():
			from, still, doubt = v.Status, 0, err
		case answeredWith(err, http.StatusConflict, http.StatusNotFound) && !locked(err) && conflict < conflicts:
			conflict++
		default:
			return err
		}
	}
}

// halfway is the error of a way on which nothing more can be done, which is no refusal where a part of it lies behind.
func (s *session) halfway(v *server, began string, err error) error {
	if v != nil && began != "" && v.Status != began {
		return refuse(hypervisor.ErrUnknown, err)
	}
	return err
}

// poll is the pause before the n-th look after the first, short at the beginning.
func (c *Config) poll(n int) time.Duration {
	return c.Timeouts.Poll * time.Duration(min(n, 4)) / 4
}

// failure tells why an action was not carried out: by the server's fault, or by the list of what was done to it.
func (s *session) failure(v *server) error {
	if v.Fault.Message != "" {
		return errors.New(s.d.cloud.harmless(v.Fault.Message))
	}
	var answer struct {
		Actions []struct {
			Action  string `json:"action"`
			Message string `json:"message"`
		} `json:"instanceActions"`
	}
	if err := s.get(nova, "servers/"+url.PathEscape(v.ID)+"/os-instance-actions", &answer); err == nil && len(answer.Actions) > 0 && answer.Actions[0].Message != "" {
		last := answer.Actions[0] // the newest is the first
		return errors.New(s.d.cloud.harmless(last.Action + ": " + last.Message))
	}
	return fmt.Errorf("accepted by Nova and not done; the server is %s", pool.Quote(v.Status))
}
