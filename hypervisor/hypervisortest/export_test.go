package hypervisortest

import (
	"context"
	"slices"
)

// CheckCase is Check with one case only: a mutant is judged by the case that has to catch it.
func CheckCase(ctx context.Context, s Setup, name string) (Report, error) {
	b, err := begin(ctx, s)
	if err != nil {
		return Report{}, err
	}
	r := Report{Driver: b.Name}
	if i := slices.IndexFunc(rows(), func(r row) bool { return r.Name == name }); i >= 0 {
		r.Results = append(r.Results, b.run(ctx, rows()[i]))
	}
	return r, nil
}

// Save writes the report as Run does.
func (r Report) Save(dir string) error { return r.save(dir) }
