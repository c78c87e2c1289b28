package notifytest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berthage/berthage/notify"
)

// Cases returns all cases.
func Cases() []Case {
	return []Case{
		{"one-incident", "the first message, an update and the end carry the same Incident, each a Key of its own, and all arrive", oneIncident},
		{"end-alone", "an end of what the receiver never heard of is not sent", endAlone},
		{"event", "what happens to hosts and instances arrives as alerts do", event},
		{"many", "how many more there are is said, and what is listed is within the limits", many},
		{"status-400", "a message that is refused is ErrPermanent after one request", refused(http.StatusBadRequest, notify.ErrPermanent)},
		{"status-401", "credentials that are refused make the receiver ErrBroken", refused(http.StatusUnauthorized, notify.ErrBroken)},
		{"status-403", "credentials that are refused make the receiver ErrBroken", refused(http.StatusForbidden, notify.ErrBroken)},
		{"status-404", "an address that is no more is never tried again", refused(http.StatusNotFound, nil)},
		{"status-429-seconds", "a receiver that is busy says for how long, in seconds", busy(http.StatusTooManyRequests, false)},
		{"status-429-date", "a receiver that is busy says until when", busy(http.StatusTooManyRequests, true)},
		{"status-500", "a failure of the service is ErrTemporary; the notifier does not try again by itself", refused(http.StatusInternalServerError, notify.ErrTemporary)},
		{"status-503", "a service that is not there for now is ErrTemporary, and Retry-After is passed on", busy(http.StatusServiceUnavailable, false)},
		{"time-out", "a service that does not answer is ErrTemporary in bounded time", timeOut},
		{"reset", "an answer that breaks off is ErrTemporary, and the message can be sent again", resets},
		{"reply-lost", "a message that arrived and whose answer is lost is sent again with the same Key and Incident", replyLost},
		{"endless-answer", "an answer is read up to a bound, and what its end says does not matter", endless},
		{"redirect", "a redirect is not followed, or only to where the Client may go", redirect},
		{"limits", "a text of as many characters as the service takes arrives whole; a longer one is cut, with a mark", limits},
		{"hostile", "whatever names, labels and texts hold is delivered harmless or refused for good", hostile},
		{"cancelled-before", "nothing is sent when the context has ended, and its error is found in that of Notify", cancelledBefore},
		{"cancelled-during", "Notify returns at once when its context ends, with its error", cancelledDuring},
		{"leaves-nothing", "no goroutine is left, whatever has become of the message", leavesNothing},
		{"secrets", "no key, token or password is in an error, or in what is printed of a notifier", secrets},
		{"unchanged", "Notify does not change a message", unchanged},
		{"concurrent", "Notify may be called at the same time", concurrent},
	}
}

func oneIncident(p *probe) {
	g := p.open(notify.ClientConfig{})
	defer g.close()
	p.must(g, Firing())
	p.must(g, Update())
	if n := len(g.service.Delivered()); n == 0 {
		p.errorf("nothing has arrived")
		return
	}
	before := g.count()
	p.must(g, Resolved())
	if g.count() == before && !p.NoResolve {
		p.errorf("the end was not sent")
	}
	got := g.service.Delivered()
	last := got[len(got)-1]
	if p.NoResolve && last.Status == "resolved" {
		p.errorf("the end was sent to a receiver that does not want it")
	}
	if !p.NoResolve && last.Status != "" && last.Status != "resolved" {
		p.errorf("after the end the receiver shows %q", last.Status)
	}
	keys := make(map[string]bool)
	for _, d := range got {
		if p.HasIncident && (d.Incident == "" || d.Incident != got[0].Incident) {
			p.errorf("the incident is %q, and was %q", d.Incident, got[0].Incident)
		}
		if p.HasKey && (d.Key == "" || keys[d.Key]) {
			p.errorf("the key %q is empty or another message's", d.Key)
		}
		keys[d.Key] = true
	}
	if !strings.Contains(got[0].Text, "CPU of web-1 above 80 %") {
		p.errorf("the summary is not in what was received: %q", got[0].Text)
	}
}

func endAlone(p *probe) {
	g := p.open(notify.ClientConfig{})
	defer g.close()
	m := Resolved()
	m.First = true
	p.must(g, m)
	if d := g.service.Delivered(); len(d) > 0 {
		p.errorf("it was delivered: %q", d[0].Text)
	}
}

func event(p *probe) {
	g := p.open(notify.ClientConfig{})
	defer g.close()
	p.must(g, Event())
	for _, d := range g.service.Delivered() {
		if strings.Contains(d.Text, "Host kvm-7 is lost") && strings.Contains(d.Text, "not answered for two minutes") {
			return
		}
	}
	p.errorf("title and text of the event were not received: %q", g.service.Delivered())
}

func many(p *probe) {
	g := p.open(notify.ClientConfig{})
	defer g.close()
	m := Firing()
	for i := range 600 {
		a := alert()
		a.Labels = map[string]string{"vm": fmt.Sprint("web-", i)}
		a.Annotations = map[string]string{"summary": fmt.Sprintf("CPU of web-%d above 80 %%", i)}
		m.Firing = append(m.Firing, a)
	}
	m.FiringMore = 399
	p.must(g, m)
	got := g.service.Delivered()
	if len(got) == 0 || len(got) > 5 {
		p.errorf("1,000 alerts made %d messages instead of 1 to 5", len(got))
		return
	}
	if !strings.Contains(got[0].Text, "1000") && !strings.Contains(got[0].Text, "more") && !strings.Contains(got[0].Text, "399") {
		p.errorf("it is not said how many there are: %.300q", got[0].Text)
	}
}

func refused(code int, kind error) func(*probe) {
	return func(p *probe) {
		g := p.open(notify.ClientConfig{})
		defer g.close()
		g.set(status(code))
		err := p.send(g, Firing())
		p.wants(err, code, kind)
		if n := g.count(); n != 1 {
			p.errorf("%d requests instead of 1", n)
		}
		g.set(nil)
		p.must(g, Firing())
	}
}

func (p *probe) wants(err error, code int, kind error) {
	if own, ok := p.Codes[code]; ok {
		code = own
	}
	var e *notify.Error
	switch {
	case err == nil:
		p.errorf("no error")
	case kind == nil && !notify.Permanent(err), kind != nil && !errors.Is(err, kind):
		p.errorf("the error is %v", err)
	case code != 0 && (!errors.As(err, &e) || e.Status != code):
		p.errorf("the error does not have the status %d: %v", code, err)
	}
}

func busy(code int, date bool) func(*probe) {
	return func(p *probe) {
		g := p.open(notify.ClientConfig{})
		defer g.close()
		after := "37"
		if date {
			after = time.Now().Add(37 * time.Second).UTC().Format(http.TimeFormat)
		}
		g.set(status(code, "Retry-After", after))
		err := p.send(g, Firing())
		p.wants(err, code, notify.ErrTemporary)
		if d := notify.RetryAfter(err); d < 20*time.Second || d > 38*time.Second {
			p.errorf("it is to be sent again after %v instead of 37 seconds", d)
		}
		if n := g.count(); n != 1 {
			p.errorf("%d requests instead of 1", n)
		}
	}
}

func timeOut(p *probe) {
	g := p.open(notify.ClientConfig{Timeout: 100 * time.Millisecond})
	defer g.close()
	g.set(hang(nil))
	began := time.Now()
	p.wants(p.send(g, Firing()), 0, notify.ErrTemporary)
	if d := time.Since(began); d > patience/2 {
		p.errorf("it took %v", d)
	}
}

func resets(p *probe) {
	g := p.open(notify.ClientConfig{})
	defer g.close()
	g.set(reset)
	p.wants(p.send(g, Firing()), 0, notify.ErrTemporary)
	if n := g.count(); n != 1 {
		p.errorf("%d requests instead of 1", n)
	}
	g.set(nil)
	p.must(g, Firing())
	if len(g.service.Delivered()) == 0 {
		p.errorf("nothing has arrived")
	}
}

// replyLost loses the answer of each request of a message in turn.
func replyLost(p *probe) {
	for lost := 1; ; lost++ {
		g := p.open(notify.ClientConfig{})
		n := 0
		g.set(func(_ http.ResponseWriter, r *http.Request) bool {
			if n++; n != lost {
				return false
			}
			g.service.ServeHTTP(&discarded{header: make(http.Header)}, r)
			panic(http.ErrAbortHandler)
		})
		err := p.send(g, Firing())
		if err == nil && n < lost { // it takes fewer requests
			g.close()
			if lost == 1 {
				p.errorf("nothing was requested")
			}
			return
		}
		if err != nil {
			p.wants(err, 0, notify.ErrTemporary)
			p.must(g, Firing())
		} // else it was a request that may fail
		got := g.service.Delivered()
		g.close()
		switch {
		case len(got) == 0:
			p.errorf("nothing has arrived when the answer of request %d was lost", lost)
		case p.Once && len(got) > 1:
			p.errorf("it is shown %d times when the answer of request %d was lost", len(got), lost)
		}
		for _, d := range got {
			if d.Key != got[0].Key || d.Incident != got[0].Incident {
				p.errorf("key %q and incident %q became %q and %q", got[0].Key, got[0].Incident, d.Key, d.Incident)
			}
		}
		if len(p.faults) > 0 || lost > 20 {
			return
		}
	}
}

type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarded) WriteHeader(int)             {}

func endless(p *probe) {
	g := p.open(notify.ClientConfig{})
	var most atomic.Int64
	g.set(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadRequest)
		chunk := []byte(strings.Repeat("x", 64<<10))
		total := int64(0)
		for range 64 << 20 / len(chunk) {
			n, err := w.Write(chunk)
			if total += int64(n); err != nil {
				break
			}
		}
		if total > most.Load() {
			most.Store(total)
		}
		return true
	})
	p.wants(p.send(g, Firing()), http.StatusBadRequest, notify.ErrPermanent)
	g.close() // when the service has ended what it says
	if n := most.Load(); n > 32<<20 {
		p.errorf("%d bytes of an answer were read", n)
	}
}

func redirect(p *probe) {
	for _, code := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		g := p.open(notify.ClientConfig{})
		g.set(status(code, "Location", "/elsewhere"))
		p.wants(p.send(g, Firing()), code, notify.ErrPermanent)
		if n := g.count(); n != 1 {
			p.errorf("it was followed: %d requests", n)
		}
		g.close()
	}
	g := p.open(notify.ClientConfig{Redirects: 3})
	defer g.close()
	g.set(status(http.StatusTemporaryRedirect, "Location", "http://127.0.0.2:9/"))
	if err := p.send(g, Firing()); !errors.Is(err, notify.ErrForbidden) {
		p.errorf("a redirect to a private address: %v", err)
	}
}

func limits(p *probe) {
	for _, l := range p.Limits {
		if l.Count == nil {
			l.Count = notify.Runes
		}
		if l.Message == nil {
			l.Message = func(n int) notify.Message {
				m := Firing()
				m.Firing[0].Annotations = map[string]string{"summary": strings.Repeat("語", n)}
				return m
			}
		}
		field := func(n int) string {
			g := p.open(notify.ClientConfig{})
			defer g.close()
			p.must(g, l.Message(n))
			got := g.service.Delivered()
			if len(got) == 0 {
				p.errorf("%s: nothing has arrived for %d runes", l.Field, n)
				return ""
			}
			return got[0].Fields[l.Field]
		}
		around := l.Count(field(1)) - 1 // what else stands in it
		for _, n := range []int{l.Most - 1, l.Most, l.Most + 1} {
			got := field(n - around)
			switch length := l.Count(got); {
			case n <= l.Most && length != n:
				p.errorf("%s: a text that makes %d of %d has become %d", l.Field, n, l.Most, length)
			case n > l.Most && length > l.Most:
				p.errorf("%s: a text that makes %d of %d has not been cut", l.Field, n, l.Most)
			case n > l.Most && !strings.Contains(got, notify.Mark) && !strings.Contains(got, "more"):
				p.errorf("%s: a text that makes %d of %d has been cut without a mark", l.Field, n, l.Most)
			}
		}
	}
}

// Hostile returns texts that mean something to one service or another.
func Hostile() []string {
	return []string{
		"line\nbreak\r\nBcc: all@berth.example", `"quoted" 'and' \ back`, "<!channel> <!here> <@U1>", "@everyone @here <@&1>", `x" OR project != "y`,
		"{{.Title}} {{range}} ${x} $(id) `id`", "\x00nul", "\u202egnp.exe\u2066", "<script>alert(1)</script><b>&amp;", "*bold* _it_ [a](https://evil.example) ~~~",
		"{code}{noformat}|x|!img!", "\xff\xfe", strings.Repeat("é", 512<<10), "https://evil.example/?a=b", "<https://evil.example|safe>", "", " ",
	}
}

// HostileMessages returns messages with h in every field that users or other systems choose.
func HostileMessages(h string) []notify.Message {
	var out []notify.Message
	for i, change := range []func(m *notify.Message, a *notify.Alert){
		func(m *notify.Message, a *notify.Alert) { m.Labels["alertname"], a.Labels["alertname"] = h, h },
		func(_ *notify.Message, a *notify.Alert) { a.Labels["vm"], a.Annotations = h, nil },
		func(_ *notify.Message, a *notify.Alert) { a.Labels[h], a.Annotations = "x", nil },
		func(m *notify.Message, a *notify.Alert) { m.Annotations["summary"], a.Annotations["summary"] = h, h },
		func(_ *notify.Message, a *notify.Alert) { a.Annotations["description"], a.Annotations[h] = h, h },
		func(m *notify.Message, a *notify.Alert) { m.Labels["severity"], a.Labels["severity"] = h, h },
		func(m *notify.Message, a *notify.Alert) {
			a.Value, a.By, a.Fingerprint, m.GroupKey, m.Receiver = h, h, h, h, h
		},
		func(m *notify.Message, a *notify.Alert) { m.Link, a.Link = h, h },
		func(m *notify.Message, _ *notify.Alert) {
			m.Firing, m.Event = nil, &notify.Event{Kind: h, Severity: h, Title: h, Text: h}
		},
	} {
		m := Firing()
		m.Key, m.Incident = fmt.Sprint("k-", i), fmt.Sprint("i-", i)
		change(&m, &m.Firing[0])
		out = append(out, m)
	}
	return out
}

func hostile(p *probe) {
	g := p.open(notify.ClientConfig{})
	defer g.close()
	arrived := 0
	for _, h := range Hostile() {
		for i, m := range HostileMessages(h) {
			err := p.send(g, m)
			if err == nil {
				arrived++
			} else if !notify.Permanent(err) || errors.Is(err, notify.ErrBroken) {
				p.errorf("%.80q in field %d: %v", h, i, err)
			} else if len(err.Error()) > 2000 {
				p.errorf("%.80q in field %d: the error has %d bytes", h, i, len(err.Error()))
			}
		}
	}
	for _, h := range g.service.Harm() {
		p.errorf("harm: %.300s", h)
	}
	if arrived == 0 {
		p.errorf("nothing arrived at all")
	}
}

func cancelledBefore(p *probe) {
	g := p.open(notify.ClientConfig{})
	defer g.close()
	ctx, cancel := context.WithCancel(p.ctx)
	cancel()
	if err := p.sendWithin(ctx, g, Firing()); !errors.Is(err, context.Canceled) {
		p.errorf("the error is %v", err)
	}
	if n := g.count(); n != 0 {
		p.errorf("%d requests were made", n)
	}
}

func cancelledDuring(p *probe) {
	g := p.open(notify.ClientConfig{})
	defer g.close()
	started := make(chan struct{}, 1)
	g.set(hang(started))
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	go func() {
		select {
		case <-started:
		case <-time.After(patience):
		}
		cancel()
	}()
	began := time.Now()
	err := p.sendWithin(ctx, g, Firing())
	if !errors.Is(err, context.Canceled) || notify.Permanent(err) {
		p.errorf("the error is %v", err)
	}
	if d := time.Since(began); d > patience/2 {
		p.errorf("it took %v", d)
	}
}

func leavesNothing(p *probe) {
	g := p.open(notify.ClientConfig{})
	defer g.close()
	for _, play := range []func(http.ResponseWriter, *http.Request) bool{nil, status(http.StatusBadRequest), reset} {
		g.set(play)
		p.labelled(g, func(ctx context.Context) { _ = p.sendWithin(ctx, g, Firing()) })
		if len(p.faults) > 0 {
			return
		}
	}
	started := make(chan struct{}, 1)
	g.set(hang(started))
	p.labelled(g, func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-started:
			case <-ctx.Done():
			}
			cancel()
		}()
		_ = p.sendWithin(ctx, g, Firing())
	})
}

func secrets(p *probe) {
	g := p.open(notify.ClientConfig{Timeout: time.Second})
	defer g.close()
	seen := fmt.Sprintf("%v %+v %#v %s", g.n, g.n, g.n, g.n)
	for _, play := range []func(http.ResponseWriter, *http.Request) bool{
		status(http.StatusBadRequest), status(http.StatusUnauthorized), status(http.StatusFound, "Location", "http://["), status(http.StatusInternalServerError),
		status(http.StatusTooManyRequests), reset, badly,
	} {
		g.set(play)
		for _, m := range []notify.Message{Firing(), Resolved()} {
			if err := p.send(g, m); err != nil {
				seen += fmt.Sprintf("\n%v %+v %#v", err, err, err)
			}
		}
	}
	g.close() // nobody listens any more
	if err := p.send(g, Firing()); err == nil {
		p.errorf("no error when nobody listens")
	} else {
		seen += err.Error()
	}
	for _, s := range p.Secrets {
		if i := strings.Index(seen, s); s != "" && i >= 0 {
			p.errorf("a secret is shown in %q", seen[max(0, i-100):min(len(seen), i+len(s)+20)])
		}
	}
}

// badly answers with something that is not HTTP and repeats the request's path.
func badly(w http.ResponseWriter, r *http.Request) bool {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	fmt.Fprintf(conn, "NOT HTTP %s\r\n\r\n", r.URL)
	_ = conn.Close()
	return true
}

func unchanged(p *probe) {
	g := p.open(notify.ClientConfig{})
	defer g.close()
	for _, make := range []func() notify.Message{Firing, Update, Resolved, Event} {
		m := make()
		p.must(g, m)
		if !reflect.DeepEqual(m, make()) {
			p.errorf("%s was changed", m.Status())
		}
	}
}

func concurrent(p *probe) {
	g := p.open(notify.ClientConfig{})
	defer g.close()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			m := Firing()
			m.Key, m.Incident = fmt.Sprint("k-", i), fmt.Sprint("i-", i)
			errs[i] = g.n.Notify(p.ctx, m)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		p.errorf("%v", err)
	}
	if n := len(g.service.Delivered()); n != len(errs) {
		p.errorf("%d of %d messages have arrived", n, len(errs))
	}
	keys := make([]string, 0, len(errs))
	for _, d := range g.service.Delivered() {
		keys = append(keys, d.Incident)
	}
	slices.Sort(keys)
	if p.HasIncident && len(slices.Compact(keys)) != len(errs) {
		p.errorf("incidents were mixed up: %q", keys)
	}
}
