// Package robot is a client of the Robot web service of Hetzner, through which dedicated servers are managed, and
// what Berthage uses it for: Inventory lists rented servers as hosts, Fencer switches hosts off that run another
// driver's machines and reads back that they are off.
//
// The service blocks an address for ten minutes after three failed log-ins. A Client therefore sends one request at a
// time and nothing at all after the first log-in that has failed, until it is given other credentials. Calls have
// small budgets (some tens or hundreds an hour); one that is used up is an Error with its Interval, and is told apart
// from a right that is missing. Requests that change something are never sent twice.
//
// Passwords in answers are Secrets, which formatting, logs and JSON do not show.
//
// What is sent and understood is judged by tables made from the service's documentation
// (https://robot.hetzner.com/doc/webservice/en.html) and by a simulated service, hetznertest.Robot. Nothing has been
// run on the real one.
package robot
