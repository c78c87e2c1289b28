package notify

import (
	"context"
	"errors"
)

// All tells every one of them, one after another, whatever becomes of the others, and returns what went wrong. One who tries
// again tells all of them again: what has to arrive once each is better given a receiver each.
func All(all ...Notifier) Notifier {
	return Func(func(ctx context.Context, m Message) error {
		var errs []error
		for _, n := range all {
			errs = append(errs, n.Notify(ctx, m))
		}
		return errors.Join(errs...)
	})
}

// When tells n what the condition holds for, and drops the rest.
func When(condition func(Message) bool, n Notifier) Notifier {
	return Func(func(ctx context.Context, m Message) error {
		if !condition(m) {
			return nil
		}
		return n.Notify(ctx, m)
	})
}
