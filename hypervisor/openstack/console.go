package openstack

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/berthage/berthage/hypervisor"
)

// Log implements hypervisor.Consoler. How much of the console is kept is the cloud's to say; most of them keep the last 100
// KiB or so.
func (d *Driver) Log(ctx context.Context, r hypervisor.Ref, most int) ([]byte, error) {
	if err := d.unsupported(hypervisor.CanConsole, "read the console of", r); err != nil {
		return nil, err
	}
	s := d.session(ctx)
	out, err := s.log(r, most)
	return out, wrap("read the console of", r, new(call), err)
}

func (s *session) log(r hypervisor.Ref, most int) ([]byte, error) {
	v, err := s.one(r)
	if err != nil || most <= 0 {
		return nil, err
	}
	var answer struct {
		Output string `json:"output"`
	}
	err = s.post(nova, "servers/"+url.PathEscape(v.ID)+"/action", map[string]any{"os-getConsoleOutput": struct{}{}}, &answer)
	if err != nil {
		return nil, err
	}
	out := []byte(answer.Output)
	return out[max(len(out)-most, 0):], nil
}

// Display implements hypervisor.Consoler. The address is that of Nova's console proxy, for a browser; it carries a token
// that lets anybody in who knows it, by default for ten minutes.
func (d *Driver) Display(ctx context.Context, r hypervisor.Ref) (string, error) {
	if err := d.unsupported(hypervisor.CanConsole, "find the display of", r); err != nil {
		return "", err
	}
	s := d.session(ctx)
	out, err := s.display(r)
	return out, wrap("find the display of", r, new(call), err)
}

func (s *session) display(r hypervisor.Ref) (string, error) {
	v, err := s.one(r)
	if err != nil {
		return "", err
	}
	if v.Status != active && v.Status != rescued && v.Status != paused {
		return "", refuse(hypervisor.ErrWrongPower, nil) // Nova would name a proxy all the same
	}
	var last error
	for _, kind := range [...][2]string{{"vnc", "novnc"}, {"spice", "spice-html5"}} {
		var answer struct {
			Console struct {
				URL string `json:"url"`
			} `json:"remote_console"`
		}
		body := map[string]any{"remote_console": map[string]string{"protocol": kind[0], "type": kind[1]}}
		last = s.post(nova, "servers/"+url.PathEscape(v.ID)+"/remote-consoles", body, &answer)
		if answeredWith(last, 400, 501) { // the cloud has another protocol
			continue
		}
		if last == nil && !strings.Contains(answer.Console.URL, "://") {
			last = errMalformed
		}
		return answer.Console.URL, last
	}
	return "", refuse(errors.ErrUnsupported, last)
}
