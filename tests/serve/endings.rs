//! How a server ends, told to or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;

use crate::http::{Client, request};
use crate::world::World;

/// Clients that ask one request after the other. Each gives how many were answered.
fn load(address: &str, key: &str, stop: &Arc<AtomicBool>, allowed: &Arc<AtomicU64>) -> Vec<JoinHandle<()>> {
    let authorization = format!("Token token={key}");
    let asked = request("GET", "/auth/incidents", &[("Authorization", &authorization)], "");
    (0..8)
        .map(|_| {
            let (asked, address) = (asked.clone(), address.to_owned());
            let (stop, allowed) = (Arc::clone(stop), Arc::clone(allowed));
            thread::spawn(move || {
                let mut client = Client::connect(&address);
                while !stop.load(Ordering::Relaxed) {
                    if client.send(&asked).is_err() {
                        return;
                    }
                    let Some(reply) = client.reply() else { return };
                    assert_eq!(reply.status, 200);
                    allowed.fetch_add(1, Ordering::Relaxed);
                    if reply.header("connection") == Some("close") {
                        return;
                    }
                }
            })
        })
        .collect()
}

fn counted(world: &World, id: &str) -> u64 {
    let usage = Connection::open(world.file("keys.usage.db")).unwrap();
    usage
        .query_row("SELECT coalesce(sum(allowed), 0) FROM hourly WHERE id = ?1", [id], |row| row.get(0))
        .unwrap()
}

#[test]
fn told_to_end_it_answers_what_has_begun_and_writes_every_count() {
    let world = World::new();
    let (id, key) = world.key();
    for signal in [Signal::TERM, Signal::INT] {
        let before = if world.file("keys.usage.db").exists() { counted(&world, &id) } else { 0 };
        let mut server = world.serve(&[]);
        let (stop, allowed) = (Arc::default(), Arc::default());
        let clients = load(server.address(), &key, &stop, &allowed);
        thread::sleep(Duration::from_millis(500));
        server.signal(signal);
        // Each goes on until the server says that this was the last: none is cut off in the middle.
        for client in clients {
            client.join().unwrap();
        }
        assert!(server.wait().success());
        let allowed = allowed.load(Ordering::Relaxed);
        assert!(allowed > 0);
        assert_eq!(counted(&world, &id) - before, allowed);
        assert!(server.log().contains("stopped"), "{}", server.log());
    }
}

#[test]
fn a_connection_that_waits_at_the_end_is_answered_and_one_that_is_idle_is_ended() {
    let world = World::new();
    let (_, key) = world.key();
    let mut server = world.serve(&[]);
    let authorization = format!("Token token={key}");
    let headers = [("Authorization", authorization.as_str())];
    let mut idle = server.connect();
    assert_eq!(idle.ask("GET", "/auth/incidents", &headers, "").status, 200);
    let mut kept = server.connect();
    assert_eq!(kept.ask("GET", "/auth/incidents", &headers, "").status, 200);
    let mut begun = server.connect();
    let asked = request("GET", "/auth/incidents", &headers, "");
    begun.send(&asked[..30]).unwrap();
    thread::sleep(Duration::from_millis(200));
    server.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(300));
    let last = kept.ask("GET", "/auth/incidents", &headers, "");
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    thread::sleep(Duration::from_millis(1_500));
    begun.send(&asked[30..]).unwrap();
    assert_eq!(begun.reply().unwrap().status, 200);
    assert!(idle.reply().is_none());
    assert!(server.wait().success());
}

#[test]
fn what_was_sent_just_before_the_end_is_answered() {
    let world = World::new();
    let (_, key) = world.key();
    let authorization = format!("Token token={key}");
    let asked = request("GET", "/auth/incidents", &[("Authorization", &authorization)], "");
    for _ in 0..5 {
        let mut server = world.serve(&[]);
        let clients = (0..8).map(|_| {
            let mut client = server.connect();
            client.send(&asked).unwrap();
            client
        });
        let clients: Vec<_> = clients.collect();
        server.signal(Signal::TERM);
        for mut client in clients {
            assert_eq!(client.reply().map(|reply| reply.status), Some(200));
        }
        assert!(server.wait().success());
    }
}

#[test]
fn the_end_does_not_wait_longer_than_it_may() {
    let world = World::new();
    let mut server = world.serve(&["--shutdown-timeout", "1", "--timeout", "60"]);
    let mut never_whole = server.connect();
    never_whole.send("GET /auth HTTP/1.1\r\n").unwrap();
    thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn killed_under_load_it_starts_again_and_has_lost_a_second_of_counts_at_most() {
    let world = World::new();
    let (id, key) = world.key();
    let mut server = world.serve(&[]);
    let (stop, allowed) = (Arc::default(), Arc::<AtomicU64>::default());
    let clients = load(server.address(), &key, &stop, &allowed);
    thread::sleep(Duration::from_millis(1_500));
    let counted_for_sure = allowed.load(Ordering::Relaxed);
    // What was counted a second ago, and the time that it takes to write it.
    thread::sleep(Duration::from_secs(2));
    server.signal(Signal::KILL);
    assert!(!server.wait().success());
    for client in clients {
        client.join().unwrap();
    }
    let server = world.serve(&[]);
    assert_eq!(server.auth(&key, "GET", "/incidents").status, 200, "no key is lost");
    server.stop();
    assert!(counted(&world, &id) > counted_for_sure);
}
