package detect

import "math"

// Factors that make a standard deviation of other measures of spread, for values that are normally distributed.
const (
	sigmaOfMedian = 1.4826022185056018 // 1/Φ⁻¹(3/4): of the median absolute deviation; its reciprocal is the 0.6745 of Iglewicz and Hoaglin
	sigmaOfMean   = 1.2533141373155003 // √(π/2): of the mean absolute deviation
)

// median of values in ascending order, of which there is at least one.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return sorted[n/2-1]/2 + sorted[n/2]/2
}

// deviation is the median distance of values, in ascending order, from their median m.
func deviation(sorted []float64, m float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return nearest(sorted, m, n/2+1)
	}
	return nearest(sorted, m, n/2)/2 + nearest(sorted, m, n/2+1)/2
}

// nearest is the distance from m of the k-th nearest to it among values in ascending order. The k nearest stand side by
// side, so that their beginning can be found by halving.
func nearest(sorted []float64, m float64, k int) float64 {
	lo, hi := 0, len(sorted)-k
	for lo < hi {
		mid := (lo + hi) / 2
		if m-sorted[mid] > sorted[mid+k]-m {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return max(m-sorted[lo], sorted[lo+k-1]-m)
}

// sigma estimates the standard deviation of values, in ascending order, around their median m: by the median absolute
// deviation, and where that is zero, because more than half of them are the same, by the mean absolute deviation.
func sigma(sorted []float64, m float64) float64 {
	if d := deviation(sorted, m); d > 0 {
		return sigmaOfMedian * d
	}
	var sum float64
	for _, v := range sorted {
		sum += math.Abs(v - m)
	}
	return sigmaOfMean * sum / float64(len(sorted))
}
