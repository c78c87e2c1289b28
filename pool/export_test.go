package pool

// Len returns the number of entries held, those included that have expired.
func (s *MemoryScratch) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}
