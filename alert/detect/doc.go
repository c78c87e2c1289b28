// Package detect finds what is unusual in a series of measured values, and foretells when one of them reaches a limit.
//
// It is a leaf below package alert, which calls it: it imports the standard library alone, keeps no clock and starts no goroutine. A rule
// chooses a [Method] and its parameters, whose zero values are useful; [Method.New] checks them and makes a [Detector] for
// one series, which is shown every sample once and answers with a [Verdict]. docs/anomalies.md says which method is for
// what, and what each costs.
//
//   - [RobustZ]: far from the median of the last samples;
//   - [EWMA]: far from the exponentially weighted mean;
//   - [HoltWinters]: off the forecast of level, trend and season, in Brutlag's bands;
//   - [Seasonal]: unlike the same hour of the weeks before;
//   - [CUSUM]: the level has shifted and stays;
//   - [KOfN]: any of these, but only when it says so repeatedly.
//
// [PredictLinear] is the function of that name in PromQL, to the last bit. [Forecast] tells when something will be full, or
// that there is no trend that would tell.
//
// # What all of them do with odd samples
//
// A detector neither judges nor learns, and says so by [Verdict.Ignored]: values that are no number, infinite or beyond
// [MaxValue]; samples that are not at least a millisecond younger than the one before. When ten samples in a row, younger
// each than the other, come from the past, the clock was set back, and the detector goes on from there with what it knows.
//
// Time matters to a detector where the hour does, in HoltWinters, Seasonal and Forecast; to the others each sample counts
// the same, whatever lies between it and the next. A gap therefore changes nothing: what was learnt before it stands. What
// counts up and begins anew from zero, a counter, is to be turned into a rate first: to these methods such a step is a
// value like others.
//
// A constant series has no spread from which the width of a band could follow. Then, and whenever it is greater, half the
// width is the parameter Least; without one it is 1e-12 of the value, which is rounding, so that any true change is outside.
//
// The same samples give the same verdicts. No method allocates once its memory is full. The detectors of this package
// marshal to and from JSON, for checkpoints: a state is taken back only by a detector with the same parameters. They are
// not safe for concurrent use.
//
// None of this is certain knowledge. Tell people of it; do not act upon it.
package detect
