package audit

import (
	"strconv"
	"strings"
	"time"
)

// Format makes the bytes of one entry as a collector reads them.
type Format interface {
	// Append appends the entry to b.
	Append(b []byte, e *Entry) []byte
}

// JSONLines is the format of one JSON object a line: see Entry.AppendJSON.
type JSONLines struct{}

// Append implements Format.
func (JSONLines) Append(b []byte, e *Entry) []byte { return append(e.AppendJSON(b), '\n') }

// Syslog is the format of RFC 5424. Its message is the entry as JSON, in printable ASCII; it has no structured data, as names of such need a number
// that an enterprise has registered. The severity is "notice" where something was refused or entries are missing, "warning" where it failed, and
// "informational" otherwise. The zero value but for Host is useful.
type Syslog struct {
	Host     string // HOSTNAME: of this machine; empty: none
	App      string // APP-NAME; empty: "berthage"
	Process  string // PROCID; empty: none
	Facility int    // 1 to 23; 0: 13, which is that of audit logs

	// Datagrams leaves out the number of octets before each message, which RFC 5425 (TLS) and RFC 6587 (TCP) want and UDP does not.
	Datagrams bool
}

// The numbers of RFC 5424, section 6.2.1.
const (
	facilityAudit = 13
	mostFacility  = 23
	warning       = 4
	notice        = 5
	informational = 6
)

// Append implements Format.
func (s Syslog) Append(b []byte, e *Entry) []byte {
	facility, severity := s.Facility, informational
	if facility < 1 || facility > mostFacility {
		facility = facilityAudit
	}
	switch e.Result {
	case Refused, Lost:
		severity = notice
	case Failed:
		severity = warning
	}
	app := s.App
	if app == "" {
		app = "berthage"
	}
	at := "-" // of a time that it cannot write
	if t := e.Time.UTC(); t.Year() >= 0 && t.Year() <= 9999 {
		at = t.Format("2006-01-02T15:04:05.000000Z07:00")
	}
	m := make([]byte, 0, 512)
	m = append(m, '<')
	m = strconv.AppendInt(m, int64(8*facility+severity), 10)
	m = append(m, ">1 "...)
	for _, field := range []string{at, printable(s.Host, 255), printable(app, 48), printable(s.Process, 128), printable(e.Action, 32), "-"} {
		m = append(append(m, field...), ' ')
	}
	m = e.AppendJSON(m)
	if !s.Datagrams {
		b = strconv.AppendInt(b, int64(len(m)), 10)
		b = append(b, ' ')
	}
	return append(b, m...)
}

// printable returns s as a header's field of at most that many characters: what is no printable ASCII, blanks too, is an underscore.
func printable(s string, most int) string {
	if s == "" {
		return "-"
	}
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '_'
		}
		return r
	}, s)
	return s[:min(len(s), most)]
}

// lost is the entry that says how many are missing.
func lost(n int64, last time.Time) Entry {
	return Entry{Time: last, Actor: "berthage", Action: "audit.lost", Result: Lost, Count: n, Detail: "entries that could not be sent in time"}
}
