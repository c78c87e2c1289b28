package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berthage/berthage/hypervisor"
)

// document writes the table of docs/drivers.md with its footnotes.
func document(list []driver) (string, error) {
	var notes []string
	noted := func(cell string, d driver, a hypervisor.Ability) string {
		note := d.notes[a]
		if note == "" {
			return cell
		}
		n := slices.Index(notes, note)
		if n < 0 {
			n, notes = len(notes), append(notes, note)
		}
		return fmt.Sprintf("%s (%d)", cell, n+1)
	}
	var b strings.Builder
	line := func(first string, cell func(d driver) (string, error)) error {
		b.WriteString("| " + first + " |")
		for _, d := range list {
			text, err := cell(d)
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			b.WriteString(" " + text + " |")
		}
		b.WriteString("\n")
		return nil
	}
	b.WriteString("\n")
	_ = line("", func(d driver) (string, error) { return "`hypervisor/" + d.name + "`", nil })
	b.WriteString("|---|" + strings.Repeat("---|", len(list)) + "\n")
	for _, r := range rows() {
		err := line(fmt.Sprintf("`%s`: %s", r.ability, r.what), func(d driver) (string, error) {
			can, err := d.can(r)
			if err != nil || !can {
				return "no", err
			}
			return noted("yes", d, r.ability), nil
		})
		if err != nil {
			return "", err
		}
	}
	for _, r := range fields() {
		_ = line(fmt.Sprintf("`%s`: %s", r.name, r.what), func(d driver) (string, error) {
			return noted(r.cell(d, hypervisor.CapabilitiesOf(d.driver, d.host)), d, r.name), nil
		})
	}
	b.WriteString("\n")
	for i, note := range notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, note)
	}
	b.WriteString("\n")
	return b.String(), nil
}

// can reports whether the driver offers the ability on some host at least.
func (d driver) can(r row) (bool, error) {
	described := slices.Contains(hypervisor.CapabilitiesOf(d.driver, d.host).Abilities, r.ability)
	note := d.notes[r.ability]
	switch {
	case described:
		return true, nil
	case r.has(d.driver) && (note != "" || r.more):
		return note != "", nil
	case r.has(d.driver):
		return false, fmt.Errorf("it implements %q and describes it only later: say in its notes when", r.ability)
	case note != "":
		return false, fmt.Errorf("its notes speak of %q, which it does not implement", r.ability)
	}
	return false, nil
}

// field is a row that is no ability.
type field struct {
	name hypervisor.Ability
	what string
	cell func(d driver, c hypervisor.Capabilities) string
}

func fields() []field {
	yes := func(is bool) string {
		if is {
			return "yes"
		}
		return "no"
	}
	return []field{
		{createUnique, "the hypervisor itself refuses a second machine of the same id", func(_ driver, c hypervisor.Capabilities) string { return yes(c.CreateUnique) }},
		{settles, "how long after it was sent a create may still land", func(_ driver, c hypervisor.Capabilities) string {
			if c.Settles == 0 {
				return "not known"
			}
			if minutes, ok := strings.CutSuffix(c.Settles.String(), "m0s"); ok {
				return minutes + "m"
			}
			return c.Settles.String()
		}},
		{firstBoot, "users, keys, user-data and mounts are set up at first boot", func(d driver, c hypervisor.Capabilities) string {
			return yes(c.FirstBoot || d.notes[firstBoot] != "")
		}},
	}
}
