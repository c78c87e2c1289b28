package lifetime

import "time"

// Ages is how many classes of age there are.
const Ages = ages

// Bound returns the age at which a class begins.
func Bound(a int) time.Duration { return bound(a) }

// AgeOf returns the class of an age.
func AgeOf(d time.Duration) int { return ageOf(d) }

// Classes returns how many classes are known.
func (b *Book) Classes() int { return len(b.curves) }
