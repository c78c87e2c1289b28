package hetznertest

import (
	"net/http"
	"regexp"
	"sync"
	"time"
)

// Fault is what happens to a request instead of what should, or besides it.
type Fault struct {
	Method string // of the requests that it is for; empty: any
	Path   string // regular expression over their path, without the base URL's; empty: any

	Skip  int // how many of them it lets through first
	Every int // then only every so many-th is meant; zero: each
	Times int // how many it is for; zero: one; negative: all

	Delay  time.Duration // before anything else
	Do     func()        // before anything else: what somebody else does at that moment
	Before bool          // the connection is cut before anything is done
	After  bool          // the connection is cut when everything has been done
	Short  bool          // the answer breaks off
	Twice  bool          // the request is carried out twice, as a proxy might, and the second answer is given
	Again  bool          // likewise, and the first answer is given

	// Status answers instead of doing anything: with Code and Message in the service's form, or with Text when that is
	// not empty, and with Header.
	Status  int
	Code    string
	Message string
	Text    string
	Header  http.Header

	// ActionFails is the code of the error in which the actions end that the request begins, of a Cloud.
	ActionFails string
	// ActionHangs lets them go on for ever.
	ActionHangs bool
}

// faults is what is to go wrong.
type faults struct {
	mu   sync.Mutex
	list []*planned
}

type planned struct {
	Fault
	path *regexp.Regexp
	met  int
	hits int
}

// add plans a fault and returns how often it has happened.
func (f *faults) add(x Fault) (hits func() int) {
	p := &planned{Fault: x, path: regexp.MustCompile(x.Path)}
	if p.Times == 0 {
		p.Times = 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, p)
	return func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return p.hits
	}
}

// clear forgets all faults.
func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = nil
}

// next returns the fault for a request.
func (f *faults) next(method, path string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.list {
		if p.Method != "" && p.Method != method || !p.path.MatchString(path) || p.Times == 0 {
			continue
		}
		if p.Skip > 0 {
			p.Skip--
			continue
		}
		if p.met++; p.Every > 0 && p.met%p.Every != 0 {
			continue
		}
		if p.Times > 0 {
			p.Times--
		}
		p.hits++
		return p.Fault
	}
	return Fault{}
}

// cut closes the connection under a request.
func cut(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = c.Close()
	}
}
