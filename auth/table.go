package auth

// Row says what may be done with one kind of thing. Roles are cumulative: a user may do what a viewer may, an operator what a user may,
// an admin what an operator may; each column has only what is added. A binding gives what its role may do within its [Scope].
type Row struct {
	Resource Resource
	Shared   Verb // whoever has a binding at all, whatever its scope: things that belong to nobody and that all need
	Self     Verb // every principal with what is its own, without any binding
	Viewer   Verb
	User     Verb
	Own      Verb // a user with what is its own
	Operator Verb
	Admin    Verb
}

// Table returns the rows of all resources: what is in none is refused. A thing lies in a project or, as hosts do, in none, and then
// only a binding to everything covers it. What stands beside a row says what its less obvious verbs mean.
func Table() []Row {
	const (
		change = Update | Delete
		all    = Read | Create | change
	)
	return []Row{
		// What tenants have. Create takes a launch as a question (explain, how many) too.
		{Resource: Instances, Viewer: Read, User: Create, Own: change | Use | Console, Operator: change | Use | Console | Operate},
		{Resource: Clusters, Viewer: Read, User: Create, Own: change | Use, Operator: change | Use | Operate},
		{Resource: Reservations, Viewer: Read, User: Create, Own: change, Operator: change},
		{Resource: Queue, Viewer: Read},
		{Resource: Operations, Viewer: Read},
		{Resource: Usage, Viewer: Read},
		{Resource: History, Viewer: Read},
		{Resource: Events, Viewer: Read},

		// What a parent project gives. To change or make one, the thing lies in the parent; to read it, in itself.
		{Resource: Projects, Viewer: Read, Admin: Create | change},
		{Resource: Quotas, Viewer: Read, User: Create, Admin: change}, // Create: ask for more

		// What all share.
		{Resource: Status, Shared: Read},
		{Resource: Images, Shared: Read, Operator: Create | change},
		{Resource: Flavors, Shared: Read, Operator: Create | change},

		// The fleet.
		{Resource: Hosts, Viewer: Read, Operator: Update | Operate, Admin: Create | Delete}, // Operate: cordon, drain, fence, confirm off
		{Resource: Machines, Viewer: Read, Operator: Operate},                               // unknown and held ones; Operate: release
		{Resource: Plans, Viewer: Read, Operator: Create | Delete | Operate},                // what-if, capacity, moves, replays; Operate: carry out
		{Resource: Rebalancing, Viewer: Read, Operator: Update},
		{Resource: Metrics, Viewer: Read, Operator: Create}, // Create: write samples

		// Alerts and who is told.
		{Resource: Alerts, Viewer: Read, Own: Update, Operator: Update}, // Update: acknowledge
		{Resource: Rules, Viewer: Read, Operator: Create | change},
		{Resource: Silences, Viewer: Read, Operator: Create | change},
		{Resource: Receivers, Operator: Read | Use, Admin: Create | change}, // Use: send a test
		{Resource: Routes, Operator: Read, Admin: Create | change},
		{Resource: Messages, Operator: Read | Create | Use}, // Create: tell of an event, Use: send again

		// Who may do what. People lie in no project, service accounts in theirs; a binding lies in the project of its scope.
		{Resource: Users, Self: Read | Update, Admin: all | Operate}, // Operate: rename, disable, sign out everywhere
		{Resource: Bindings, Self: Read, Admin: Read | Create | Delete},
		{Resource: Tokens, Self: Read | Create | Delete, Admin: Read | Create | Delete},
		{Resource: Credentials, Self: Read | Update, Admin: Read | change}, // passwords, second factors, passkeys; Read: that there are some
		{Resource: Keys, Self: all, Admin: all},
		{Resource: Sessions, Self: Read | Delete, Admin: Read | Delete},

		// The books themselves.
		{Resource: Ledger, Admin: Read | Create | Delete | Operate}, // Read: export, Create: back up, Delete: forget, Operate: compact, import
		{Resource: Audit, Admin: Read},
	}
}

// wants reports whether only an identity with all of its principal's rights may: a token that could make another token, or set a
// password, could give itself the rights that it was made without.
func wantsWhole(r Resource, v Verb) bool {
	return r == Credentials && v != Read || r == Tokens && v == Create
}

// The resources.
const (
	Instances    Resource = "instances"
	Clusters     Resource = "clusters"
	Reservations Resource = "reservations"
	Queue        Resource = "queue"
	Operations   Resource = "operations"
	Usage        Resource = "usage" // and what it costs
	History      Resource = "history"
	Events       Resource = "events" // the stream; each event is a thing of its own too
	Projects     Resource = "projects"
	Quotas       Resource = "quotas"
	Status       Resource = "status"
	Images       Resource = "images"
	Flavors      Resource = "flavors"
	Hosts        Resource = "hosts"
	Machines     Resource = "machines"
	Plans        Resource = "plans"
	Rebalancing  Resource = "rebalancing"
	Metrics      Resource = "metrics"
	Alerts       Resource = "alerts"
	Rules        Resource = "rules"
	Silences     Resource = "silences"
	Receivers    Resource = "receivers"
	Routes       Resource = "routes"
	Messages     Resource = "messages"
	Users        Resource = "users" // people and service accounts
	Bindings     Resource = "bindings"
	Tokens       Resource = "tokens"
	Credentials  Resource = "credentials"
	Keys         Resource = "keys"
	Sessions     Resource = "sessions"
	Ledger       Resource = "ledger"
	Audit        Resource = "audit"
)
