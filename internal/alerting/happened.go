package alerting

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/pool"
)

// The kinds of event of things that happened.
const (
	Reported = "alert.event"       // Happening: somebody else reports it
	Told     = "alert.events.told" // told: those of a kind up to one of them are being told
)

// EventLabel is the label that says of what kind something is that happened. A route that has a matcher for it is asked whom to
// tell; to those who only want to know of alerts it is not told.
const EventLabel = "event"

// The kinds of thing that happen, by what they say of one, and of several. Others are reported by somebody else.
const (
	InstanceSuspended = "instance-suspended"
	InstanceDeleting  = "instance-deleting"
	InstanceFailed    = "instance-failed"
	ClusterSuspended  = "cluster-suspended"
	ClusterDeleting   = "cluster-deleting"
	ReservationLapsed = "reservation-lapsed"
	HostLost          = "host-lost"
	HostBack          = "host-back"
	HostFenced        = "host-fenced"
	HostRemoved       = "host-removed"
)

func phrases(kind string) (one, many string, s alert.Severity) {
	switch kind {
	case InstanceSuspended:
		return "instance # is suspended", "# instances are suspended", alert.Low
	case InstanceDeleting:
		return "instance # is being deleted", "# instances are being deleted", alert.Medium
	case InstanceFailed:
		return "instance # has failed", "# instances have failed", alert.High
	case ClusterSuspended:
		return "cluster # is suspended", "# clusters are suspended", alert.Low
	case ClusterDeleting:
		return "cluster # is being deleted", "# clusters are being deleted", alert.Medium
	case ReservationLapsed:
		return "the reservation # has lapsed", "# reservations have lapsed", alert.Medium
	case HostLost:
		return "host # does not answer", "# hosts do not answer", alert.Critical
	case HostBack:
		return "host # answers again", "# hosts answer again", alert.Low
	case HostFenced:
		return "host # is switched off", "# hosts are switched off", alert.High
	case HostRemoved:
		return "host # is removed", "# hosts are removed", alert.Medium
	}
	return kind + ": #", "# times " + kind, alert.Low
}

// Happening is something that happened, until it has been told or is too old for it. It is immutable.
type Happening struct {
	Seq    int64        `json:"seq,omitempty"` // grows; it is that of the event, and so the same in all books
	Kind   string       `json:"kind"`
	At     time.Time    `json:"at,omitzero"`
	Labels alert.Labels `json:"labels,omitzero"` // what it is about
	Name   string       `json:"name,omitempty"`  // of that
	Reason string       `json:"reason,omitempty"`

	// Of what somebody else reports; else they follow from the kind.
	Severity alert.Severity `json:"severity,omitempty"`
	Title    string         `json:"title,omitempty"`
	Text     string         `json:"text,omitempty"`
}

// The bounds on what is kept of things that happened: how many, and for how long they can still be told.
const (
	MostHappened      = 5_000
	MostHappenedBytes = 4 << 20
	TellWithin        = time.Hour
	MostReported      = 16 << 10 // bytes of the texts of one that is reported
)

// cell is one of a list, the newest first. It is shared by all later lists.
type cell struct {
	Happening
	before *cell
}

// happened is what happened and has not been told yet.
type happened struct {
	newest *cell
	count  int
	size   int                  // of all, in bytes
	told   map[string]time.Time // when something of a kind was told last, within Keep; replaced, not changed
}

// seq returns the number of what an event says. Two events of a batch never have the same, as it has less than 1<<20.
func seq(e *pool.Event) int64 { return int64(e.Revision)<<20 + int64(e.Index) }

// size returns about how many bytes one is.
func (h *Happening) size() int { return 300 + len(h.Title) + len(h.Text) + len(h.Reason) }

func (h *happened) add(one Happening) {
	h.newest = &cell{one, h.newest}
	h.count++
	h.size += one.size()
	if h.count < 2*MostHappened && h.size < 2*MostHappenedBytes {
		return
	}
	list, k, size := h.list(), 0, h.size // seldom enough that it costs nothing
	for ; len(list)-k > MostHappened || size > MostHappenedBytes; k++ {
		size -= list[k].size()
	}
	h.set(list[k:])
}

// list returns what is kept, the oldest first.
func (h *happened) list() []Happening {
	out := make([]Happening, h.count)
	k := h.count
	for c := h.newest; c != nil && k > 0; c = c.before {
		k--
		out[k] = c.Happening
	}
	return out[k:]
}

func (h *happened) set(list []Happening) {
	h.newest, h.count, h.size = nil, len(list), 0
	for _, one := range list {
		h.newest = &cell{one, h.newest}
		h.size += one.size()
	}
}

// Look implements pool.Onlooker.
func (p *Part) Look(st *pool.State, e *pool.Event, payload any) (pool.Part, bool) {
	one := Happening{Seq: seq(e), At: e.Time}
	switch v := payload.(type) {
	case *pool.Wanted:
		switch {
		case v.Want == pool.Suspended:
			one.Kind = InstanceSuspended
		case v.Want == pool.Absent:
			one.Kind = InstanceDeleting
		default:
			return p, false
		}
		i, ok := st.Instance(v.Instance)
		if !ok || i.Want == v.Want {
			return p, false
		}
		one.instance(i, v.Reason)
	case *pool.Ended:
		i, ok := st.Instance(v.Instance)
		if !ok || e.Kind != pool.KindFailed {
			return p, false
		}
		one.Kind = InstanceFailed
		one.instance(i, v.Reason)
	case *pool.Lapsed:
		i, ok := st.Instance(v.Instance)
		if !ok || v.Released {
			return p, false
		}
		one.Kind = ReservationLapsed
		one.instance(i, "")
	case *pool.ClusterActed:
		c, ok := st.Cluster(v.Cluster)
		if !ok || c.Want == v.Want {
			return p, false
		}
		switch v.Want {
		case pool.Suspended:
			one.Kind = ClusterSuspended
		case pool.Absent:
			one.Kind = ClusterDeleting
		default:
			return p, false
		}
		one.Name = string(c.ID)
		one.label("cluster", string(c.ID), "project", c.ID.Project())
	case *pool.HostConditions:
		h, ok := st.Host(v.Host)
		if !ok {
			return p, false
		}
		is, was := v.Conditions.Has, h.Conditions.Has
		switch {
		case is(pool.Fenced) && !was(pool.Fenced):
			one.Kind = HostFenced
		case is(pool.Unreachable) && !was(pool.Unreachable):
			one.Kind = HostLost
		case was(pool.Unreachable) && !is(pool.Unreachable):
			one.Kind = HostBack
		default:
			return p, false
		}
		one.host(v.Host, v.Reason)
	case *pool.HostRemoved:
		one.Kind = HostRemoved
		one.host(v.Host, "")
	default:
		return p, false
	}
	n := *p
	n.happened.add(one)
	return &n, true
}

// label sets the labels; values that are empty are none.
func (h *Happening) label(pairs ...string) {
	set := map[string]string{EventLabel: h.Kind}
	for k := 0; k+1 < len(pairs); k += 2 {
		if pairs[k+1] != "" {
			set[pairs[k]] = pairs[k+1]
		}
	}
	h.Labels, _ = alert.NewLabels(set) // names of the pool are within the bounds of labels
}

func (h *Happening) instance(i *pool.Instance, reason string) {
	h.Name, h.Reason = cmp.Or(i.Name, string(i.ID)), reason
	h.label(InstanceLabel, string(i.ID), "vm", i.Name, "project", i.Project)
}

func (h *Happening) host(id pool.HostID, reason string) {
	h.Name, h.Reason = string(id), reason
	h.label(HostLabel, string(id))
}

// title returns in one line what happened.
func (h *Happening) title() string {
	one, _, _ := phrases(h.Kind)
	return cmp.Or(h.Title, strings.Replace(one, "#", cmp.Or(h.Name, h.Labels.String()), 1))
}

func (h *Happening) severity() alert.Severity {
	_, _, s := phrases(h.Kind)
	return cmp.Or(h.Severity, s)
}

// line returns in one line what happened among others of its kind.
func (h *Happening) line() string {
	out := h.At.UTC().Format("2006-01-02 15:04 UTC") + ": " + h.title()
	if project := h.Labels.Get("project"); project != "" {
		out += " (project " + project + ")"
	}
	for _, text := range []string{h.Reason, h.Text} {
		if text != "" {
			out += ": " + text
		}
	}
	return out
}

// Announcement is what several receivers are told of things of one kind that happened.
type Announcement struct {
	Receivers []string       `json:"receivers,omitempty"`
	Kind      string         `json:"kind"`
	Severity  alert.Severity `json:"severity,omitempty"`
	Title     string         `json:"title"`
	Text      string         `json:"text,omitempty"`
	Labels    alert.Labels   `json:"labels,omitzero"` // that all of them have
	Count     int            `json:"count"`
}

// told is that those of a kind which happened up to one of them are told, or are not to be.
type told struct {
	Ledger   string         `json:"ledger"` // for the keys
	Kind     string         `json:"kind"`
	Upto     int64          `json:"upto"`
	Messages []Announcement `json:"messages,omitempty"`
}

// mostText is of how many bytes of JSON the lines of an announcement are at most; how many more there are is said. mostTold is of how many bytes all
// announcements of a kind at once are, about, so that a batch can hold them: what has no room comes with the next step.
const (
	mostText = 64 << 10
	mostTold = 256 << 10
)

// audience is what some receivers are told of a kind.
type audience struct {
	receivers []string
	of        []Happening
	text      int // bytes of JSON
}

// announce decides what is due to be told of what happened: each kind once in an interval, so that much of it at once is few messages.
func (p *Part) announce(st *pool.State, d alert.Dispatcher, at time.Time) []told {
	if p.happened.count == 0 || at.Sub(p.happened.newest.At) > TellWithin {
		return nil
	}
	type kind struct {
		due  time.Time
		by   map[string]*audience
		size int
		full bool
		upto int64
	}
	kinds := make(map[string]*kind)
	targets := p.ways(d)
	if targets == nil {
		return nil
	}
	causes := d.CausesOf(p.groups, p.Alerts())
	for _, h := range p.happened.list() {
		k := kinds[h.Kind]
		if at.Sub(h.At) > TellWithin || k != nil && (k.full || k.due.After(at)) {
			continue
		}
		receivers, wait, interval := whom(targets(h.Labels), causes, h, at)
		if len(receivers) == 0 {
			continue
		}
		if k == nil {
			k = &kind{due: h.At.Add(wait), by: make(map[string]*audience)}
			// What happened before something of its kind was told had no room then.
			if last, ok := p.happened.told[h.Kind]; ok && h.At.After(last) && last.Add(interval).After(k.due) {
				k.due = last.Add(interval)
			}
			kinds[h.Kind] = k
		}
		who := strings.Join(receivers, "\x00")
		to, there := k.by[who]
		more := 0
		if !there {
			to = &audience{receivers: receivers}
			more = size(receivers) + size(h.title()) + size(h.Labels)
		}
		line := size(h.line())
		if to.text += line; to.text <= mostText || !there { // else it is only counted
			more += line
		}
		if k.full = k.size > 0 && k.size+more > mostTold; k.full {
			continue
		}
		k.by[who], k.size, k.upto = to, k.size+more, h.Seq
		to.of = append(to.of, h)
	}
	var out []told
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		k := kinds[name]
		if k.due.After(at) {
			continue
		}
		t := told{Ledger: st.Identity(), Kind: name, Upto: k.upto}
		for _, who := range slices.Sorted(maps.Keys(k.by)) {
			t.Messages = append(t.Messages, announcement(name, k.by[who].receivers, k.by[who].of))
		}
		out = append(out, t)
	}
	return out
}

// ways returns what finds the targets of something that happened which it has because of its label. Without that it would be told to everybody
// who wants to know of alerts; nil: nobody is told of anything. Most of what happens is alike to a tree of routes, which is asked once.
func (p *Part) ways(d alert.Dispatcher) func(alert.Labels) []alert.Target {
	find := func(l alert.Labels) []alert.Target {
		others := d.Route(l.Without(EventLabel))
		return slices.DeleteFunc(slices.Clone(d.Route(l)), func(t alert.Target) bool {
			return slices.ContainsFunc(others, func(o alert.Target) bool { return o.ID == t.ID })
		})
	}
	if p.config.Dispatch.Route != nil {
		return find
	}
	r, _ := p.Routing()
	matched := r.Labels()
	if !slices.Contains(matched, EventLabel) {
		return nil
	}
	known := make(map[alert.Labels][]alert.Target)
	return func(l alert.Labels) []alert.Target {
		var other []string
		for name := range l.All() {
			if _, ok := slices.BinarySearch(matched, name); !ok {
				other = append(other, name)
			}
		}
		l = l.Without(other...)
		targets, ok := known[l]
		if !ok {
			targets = find(l)
			known[l] = targets
		}
		return targets
	}
}

// whom returns which receivers of these targets are told of something now, and the times of the first of them.
func whom(targets []alert.Target, causes func(alert.Target, alert.Labels, time.Time) []alert.Cause, h Happening, at time.Time) (receivers []string, wait, interval time.Duration) {
	for _, t := range targets {
		if len(causes(t, h.Labels, at)) > 0 {
			continue
		}
		if len(receivers) == 0 {
			wait, interval = cmp.Or(t.Wait, alert.DefaultWait), cmp.Or(t.Interval, alert.DefaultInterval)
		}
		for _, r := range t.Receivers {
			if !slices.Contains(receivers, r.Name) {
				receivers = append(receivers, r.Name)
			}
		}
	}
	slices.Sort(receivers)
	return receivers, max(wait, 0), interval
}

func announcement(kind string, receivers []string, all []Happening) Announcement {
	first := all[0]
	out := Announcement{Receivers: receivers, Kind: kind, Severity: first.severity(), Title: first.title(), Labels: first.Labels, Count: len(all)}
	if len(all) > 1 {
		_, many, _ := phrases(kind)
		out.Title = strings.Replace(many, "#", strconv.Itoa(len(all)), 1)
	}
	var lines strings.Builder
	text := 0
	for k, h := range all {
		var other []string
		for name, value := range out.Labels.All() {
			if h.Labels.Get(name) != value {
				other = append(other, name)
			}
		}
		out.Labels = out.Labels.Without(other...)
		line := h.line()
		if text += size(line); text > mostText && k > 0 {
			lines.WriteString("and " + strconv.Itoa(len(all)-k) + " more\n")
			break
		}
		lines.WriteString(line + "\n")
	}
	out.Text = strings.TrimSuffix(lines.String(), "\n")
	return out
}

// foldHappened folds what is reported, and what is told.
func (p *Part) foldHappened(e *pool.Event) error {
	if e.Kind == Reported {
		var one Happening
		if err := pool.PartData(e.Data, &one); err != nil {
			return err
		}
		one.Seq, one.At = seq(e), e.Time
		p.happened.add(one)
		return nil
	}
	var t told
	if err := pool.PartData(e.Data, &t); err != nil {
		return err
	}
	p.happened.told = with(p.happened.told, t.Kind, e.Time)
	maps.DeleteFunc(p.happened.told, func(_ string, last time.Time) bool { return e.Time.Sub(last) > Keep }) // kinds are anybody's to name
	p.happened.set(slices.DeleteFunc(p.happened.list(), func(h Happening) bool { return h.Kind == t.Kind && h.Seq <= t.Upto }))
	p.outbox = p.outbox.clone()
	for k, m := range t.Messages {
		receivers := m.Receivers
		m.Receivers = nil // each message has its own
		n := size(m)
		for _, receiver := range receivers {
			key := hashed("event", t.Ledger, t.Kind, strconv.FormatInt(t.Upto, 10), strconv.Itoa(k), receiver)
			p.outbox.push(&Message{Key: key, Receiver: receiver, Queued: e.Time, Size: n, Event: &m}, e.Time)
		}
	}
	return nil
}

// report decides on something that somebody else reports.
func (h Happening) report() ([]pool.Event, error) {
	if err := pool.ValidName(h.Kind); err != nil {
		return nil, pool.InField("kind", err)
	}
	if n := len(h.Title) + len(h.Text); n > MostReported || h.Title == "" {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "title, text", Value: strconv.Itoa(n) + " bytes", Want: "a title, and at most 16 KiB of both"}
	}
	if strings.ContainsFunc(h.Title, unicode.IsControl) || !utf8.ValidString(h.Title) {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "title", Value: h.Title, Want: "one line"}
	}
	switch h.Severity {
	case "", alert.Critical, alert.High, alert.Medium, alert.Low:
	default:
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "severity", Value: string(h.Severity), Want: "critical, high, medium or low"}
	}
	set := h.Labels.Map()
	if set == nil {
		set = make(map[string]string)
	}
	set[EventLabel] = h.Kind
	labels, err := alert.NewLabels(set)
	if err != nil {
		return nil, Error(err)
	}
	h.Labels, h.Seq, h.At, h.Name, h.Reason = labels, 0, time.Time{}, "", ""
	return one(Reported, h)
}
