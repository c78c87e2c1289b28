package alert

// ActionKind is what an action does.
type ActionKind string

// The kinds of action. The engine does none of them: it says that they are to be done.
const (
	Suspend ActionKind = "suspend" // an instance, which the label "vm_id" names
	Drain   ActionKind = "drain"   // a host, which the label "host" names
	Hook    ActionKind = "hook"    // a program that the configuration of whoever runs the engine knows by a name
)

// Action is what a rule wants done when one of its alerts begins to fire.
type Action struct {
	Do     ActionKind `json:"do"`
	Label  string     `json:"label,omitempty"`   // the label that names the target: "vm_id" or "host" when empty, none for a hook
	Hook   string     `json:"hook,omitempty"`    // the hook's name
	DryRun bool       `json:"dry_run,omitempty"` // say only what would be done
}

// Act is an action that is due. It comes with the change of the alert that it is due for, so that both are written down together.
type Act struct {
	Do     ActionKind `json:"do"`
	Target string     `json:"target,omitempty"` // the value of the label
	Hook   string     `json:"hook,omitempty"`
	DryRun bool       `json:"dry_run,omitempty"` // nothing is to be done
}

func (a Action) validate(field string) error {
	switch {
	case a.Do != Suspend && a.Do != Drain && a.Do != Hook:
		return invalid(field+".do", string(a.Do), "suspend, drain or hook")
	case a.Do == Hook && a.Hook == "":
		return invalid(field+".hook", "", "the name of a hook")
	case a.Do != Hook && a.Hook != "":
		return invalid(field+".hook", a.Hook, "none: it is for hooks")
	case len(a.Hook) > MaxRuleName:
		return invalid(field+".hook", a.Hook, "a shorter name")
	case len(a.Label) > MaxLabelName:
		return invalid(field+".label", a.Label, "a shorter name")
	}
	return nil
}

// act returns what is due for an alert with these labels; it fails when they do not name the target.
func (a Action) act(l Labels, dry bool) (Act, error) {
	label := a.Label
	switch {
	case label != "":
	case a.Do == Suspend:
		label = "vm_id"
	case a.Do == Drain:
		label = "host"
	}
	act := Act{Do: a.Do, Hook: a.Hook, DryRun: a.DryRun || dry}
	if label != "" {
		if act.Target = l.Get(label); act.Target == "" {
			return Act{}, invalid("actions", string(a.Do)+" "+l.String(), "an alert with the label "+label)
		}
	}
	return act, nil
}
