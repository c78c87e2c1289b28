package lifetime

import (
	"math"
	"math/bits"
	"time"

	"github.com/berthage/berthage/scheduler"
)

// Ages go from one bound to the next: below 5 minutes, and then two to each factor of two, more than 200 years in all.
const (
	ages     = 50
	youngest = 5 * time.Minute
)

// bound returns the age at which age class a begins.
func bound(a int) time.Duration {
	if a == 0 {
		return 0
	}
	d := float64(youngest) * float64(uint64(1)<<((a-1)/2))
	if (a-1)%2 == 1 {
		d *= math.Sqrt2
	}
	if d >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(d)
}

// ageOf returns the class of an age.
func ageOf(d time.Duration) int {
	if d < youngest {
		return 0
	}
	a := 2*bits.Len64(uint64(d/youngest)) - 1 // of the factor of two that it has reached
	if d >= bound(a+1) {
		a++
	}
	return min(a, ages-1)
}

// curve is what is known of the lives of one class.
type curve struct {
	parent *curve
	ended  [ages]uint32  // by the age that they reached
	alive  [ages]uint32  // at the last look, by their age then
	dies   [ages]float64 // at the last look: which part of those that reach an age does not reach the next

	beyond [ages + 1]float64 // the same, added up: how long those that are born live beyond an age, on average, in nanoseconds
	lives  scheduler.Lives   // part
}

func newCurve(parent *curve) *curve {
	c := &curve{parent: parent}
	c.lives = c.part
	return c
}

// restless is which part of those of an age is assumed not to reach the next, as long as nothing is known: half of
// them do not live to twice the age.
const restless = 1 - 1/math.Sqrt2

// look makes dies and beyond what is known now. The parent has had its look. No life is taken to be longer than oldest says, the
// number of ages that anybody has been seen in.
func (c *curve) look(oldest int) {
	reached := 0.0
	for a := ages - 1; a >= 0; a-- {
		reached += float64(c.ended[a])
		before := restless
		if c.parent != nil {
			before = c.parent.dies[a]
		}
		// Who is of that age now has been seen through half of it, on average.
		c.dies[a] = (float64(c.ended[a]) + before) / (reached + float64(c.alive[a])/2 + 1)
		reached += float64(c.alive[a])
	}
	var reach [ages + 1]float64
	reach[0] = 1
	for a := range ages {
		reach[a+1] = reach[a] * (1 - c.dies[a])
	}
	clear(c.beyond[:])
	for a := oldest - 1; a >= 0; a-- {
		c.beyond[a] = c.beyond[a+1] + float64((reach[a]+reach[a+1])/2*float64(bound(a+1)-bound(a)))
	}
}

// part is the scheduler.Lives of those that are born. It does not rise at any time, whatever is rounded.
func (c *curve) part(beyond time.Duration) float64 {
	a := ageOf(beyond)
	from, to := c.beyond[a], c.beyond[a+1]
	within := float64(beyond-bound(a)) / float64(bound(a+1)-bound(a))
	return max(to, from-float64((from-to)*within)) / c.beyond[0]
}

// remains returns the median of what remains to those that have reached an age.
func (c *curve) remains(age time.Duration) time.Duration {
	left := 1.0
	for a := ageOf(age); a < ages; a++ {
		from, to, dies := float64(max(age, bound(a))), float64(bound(a+1)), c.dies[a]
		if dies < 1 { // of those that are within an age now, some of the others have died already
			begin := float64(bound(a))
			dies *= (to - from) / (to - begin - dies*(from-begin))
		}
		next := left * (1 - dies)
		if next <= 0.5 {
			return time.Duration(min(from+(left-0.5)/(left-next)*(to-from), float64(1<<62))) - age
		}
		left = next
	}
	return math.MaxInt64 - age
}
