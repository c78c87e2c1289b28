package pvetest

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Fault is something that goes wrong with a request, once unless Times says otherwise. Which request is told by Method
// and Path; a fault of tasks is told by Task.
type Fault struct {
	Method string // empty: any
	Path   string // what the path ends with, such as "/clone"; empty: any
	Times  int    // how often; zero: once, negative: always
	Nth    int    // the first of the requests that it is about, from 1; zero: the next

	CutBefore bool          // the connection is cut, and nothing is done
	CutAfter  bool          // it is done, and the connection is cut instead of an answer
	Late      time.Duration // the connection is cut, and it is done this much later
	Delay     time.Duration // it is done, and answered, only after this time
	Status    int           // it is not done, and answered with that status and an empty body: 595, 596
	After     int           // it is done, and answered with that status and an empty body
	Twice     bool          // it reaches the server twice; the second answer is given
	Again     bool          // it reaches the server twice; the first answer is given
	Null      bool          // it is not done, and answered with 200 and {"data":null}
	Huge      bool          // it is not done, and answered with a body that does not end

	Task      string // kind of the tasks that it is about, "qmclone"; the rest of the fault is below
	TaskFails string // the exit status
	Warnings  int    // the task ends well with so many warnings
}

// Inject adds faults. A request meets the first that is left for it.
func (s *Server) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		if f.Times == 0 {
			f.Times = 1
		}
		s.faults = append(s.faults, &f)
	}
}

// Pending returns how many faults have not happened.
func (s *Server) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, f := range s.faults {
		if f.Times > 0 {
			n++
		}
	}
	return n
}

// Heal forgets all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) take(match func(f *Fault) bool) Fault {
	for _, f := range s.faults {
		if f.Times == 0 || !match(f) {
			continue
		}
		if f.Nth > 1 {
			f.Nth--
			continue
		}
		f.Times--
		return *f
	}
	return Fault{}
}

// fault returns what is to go wrong with a request.
func (s *Server) fault(method, path string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(func(f *Fault) bool {
		return f.Task == "" && (f.Method == "" || f.Method == method) && strings.HasSuffix(path, f.Path)
	})
}

// taskFault is the same for a task; s.mu is held.
func (s *Server) taskFault(kind string) Fault {
	return s.take(func(f *Fault) bool { return f.Task != "" && f.Task == kind })
}

// before lets go wrong what does so before the request is carried out, and reports whether that was all.
func (s *Server) before(w http.ResponseWriter, c *call, f Fault, given map[string]string) bool {
	switch {
	case f.Late > 0:
		s.timers.Add(1)
		time.AfterFunc(f.Late, func() {
			defer s.timers.Done()
			_, _ = s.handle(c, given)
		})
		cut(w)
	case f.CutBefore:
		cut(w)
	case f.Status != 0:
		bare(w, f.Status)
	case f.Null:
		s.answer(w, c, nil, nil)
	case f.Huge:
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		_, _ = w.Write([]byte(`{"data":"`))
		filler := []byte(strings.Repeat("x", 1<<16))
		for {
			if _, err := w.Write(filler); err != nil {
				return true
			}
		}
	default:
		if f.Delay > 0 {
			select {
			case <-time.After(f.Delay):
			case <-c.http.Context().Done(): // what was sent is done, whether somebody waits or not
			}
		}
		return false
	}
	return true
}

// after is the same for what goes wrong after it.
func (s *Server) after(w http.ResponseWriter, f Fault) bool {
	switch {
	case f.CutAfter:
		cut(w)
	case f.After != 0:
		bare(w, f.After)
	default:
		return false
	}
	return true
}

func cut(w http.ResponseWriter) {
	if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// bare answers as the proxy before the API does when it does not reach it.
func bare(w http.ResponseWriter, status int) {
	reason := map[int]string{595: "Connection refused", 596: "Connection timed out", 599: "Too many redirections"}[status]
	if reason == "" {
		reason = http.StatusText(status)
	}
	if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status, reason)
		_ = conn.Close()
	}
}
