// Package alertmanager has nothing but a test: package alert beside Alertmanager's own dispatcher, in virtual time, on random
// alerts and silences, and beside its routing tree on random trees. Both have to tell the same to the same receivers at the same
// microsecond. Package notify/webhook stands beside Alertmanager's own webhook, which have to send the same.
//
// Alertmanager is much to compile and is no requirement of any module here. So the judge, what is in testdata, is compiled in a
// module that is made for it.
package alertmanager
