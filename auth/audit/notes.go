package audit

import "bytes"

// Notes takes apart what holds any number of signed heads, one after another as Sign returns them: a file to which each new one is added. Empty lines between
// them are passed over. Nothing of them is looked at: whatever is no head is one of the notes as well, and Open says what is wrong with it.
func Notes(b []byte) (notes [][]byte) {
	for len(b) > 0 {
		if b[0] == '\n' {
			b = b[1:]
			continue
		}
		end := len(b)
		if text := bytes.Index(b, []byte("\n\n")); text >= 0 {
			end = text + 2
			for bytes.HasPrefix(b[end:], []byte("— ")) {
				line, _, _ := bytes.Cut(b[end:], []byte("\n"))
				end = min(end+len(line)+1, len(b))
			}
		}
		notes, b = append(notes, b[:end:end]), b[end:]
	}
	return notes
}

// ActionHead is the Action of the entry that tells a collector a signed head.
const ActionHead = "audit.head"

// HeadEntry returns the entry by which a signed head is told to whoever gets the audit log. It stands in no ledger: it is about all that was told before it.
func HeadEntry(h Head, note []byte) Entry {
	return Entry{Time: h.Time, Actor: "berthage", Action: ActionHead, Target: h.Ledger, Result: Done, Head: string(note)}
}
