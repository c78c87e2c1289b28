package pool

import (
	"fmt"
	"reflect"
	"strings"
)

// Len returns the number of entries held, those included that have expired.
func (s *MemoryScratch) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

// SnapshotForm describes the form of snapshots, with every field of every record in them, and gives its version.
func SnapshotForm() (form string, version int) {
	var b strings.Builder
	seen := make(map[reflect.Type]bool)
	var describe func(t reflect.Type)
	describe = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			describe(t.Elem())
		case reflect.Map:
			describe(t.Key())
			describe(t.Elem())
		case reflect.Struct:
			if seen[t] {
				return
			}
			seen[t] = true
			for i := range t.NumField() {
				f := t.Field(i)
				fmt.Fprintf(&b, "%s.%s %s %s\n", t, f.Name, f.Type, f.Tag)
				if f.IsExported() {
					describe(f.Type)
				}
			}
		}
	}
	describe(reflect.TypeFor[snapshot]())
	return b.String(), snapshotVersion
}
