use super::*;
use crate::credential::key::tests::fields;
use crate::digest::sha256;
use crate::identity::{Authentication, Realm, SecretToken, Subject, VerifiedClaims};

const HEADER: &str = "eyJhbGciOiJSUzI1NiJ9";

fn cache() -> CredentialCache {
    CredentialCache::new(CACHE_BYTES_MAX, Arc::default())
}

fn caller(expires_at: u64) -> Arc<Caller> {
    let claims = VerifiedClaims { expires_at, ..VerifiedClaims::of("ada") };
    Arc::new(Caller::verified(claims, SecretToken::new(format!("token-{expires_at}"))))
}

fn issued(cache: &CredentialCache, fields: &KeyFields, token: &str, lifetime: u64, asked: Now) -> Served {
    let mut authorization = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header");
    authorization.set_sensitive(true);
    let lifetime = Some(Duration::from_secs(lifetime));
    let (token, reason) = (sha256(token.as_bytes()), Reason::Needed);
    let issued = Issued { authorization, token, granted: None, lifetime, reason, exchange: None };
    cache.entry(fields, issued, asked)
}

fn served(cache: &CredentialCache, fields: &KeyFields, lifetime: u64, asked: Now) -> Served {
    issued(cache, fields, "token", lifetime, asked)
}

fn is_kept(cache: &CredentialCache, fields: &KeyFields, now: Now) -> bool {
    cache.get(&fields.key(), fields, &caller(1), now).is_some()
}

fn person(number: usize) -> KeyFields {
    KeyFields { subject: Subject::new(format!("person-{number}")), ..fields() }
}

fn held(cache: &CredentialCache) -> usize {
    cache.shards.iter().map(|shard| lock(shard).byte_count()).sum()
}

/// A token of 1.8 kilobytes that nobody else has.
fn token_of(number: usize) -> String {
    use base64::Engine as _;
    let encode = |text: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let digest = |part: usize| crate::digest::sha256(&[number.to_be_bytes(), part.to_be_bytes()].concat());
    let signature: Vec<u8> = (0..8).flat_map(digest).collect();
    let roles = "\"Mail.Read.All\",".repeat(58);
    let claims = format!(r#"{{"aud":"api://mail","roles":[{roles}"x"],"uti":"{}"}}"#, encode(&digest(8)));
    format!("{HEADER}.{}.{}", encode(claims.as_bytes()), encode(&signature))
}

#[test]
fn an_entry_is_served_to_its_own_identity_within_its_time() {
    let cache = cache();
    let (fields, now) = (fields(), Now::read());
    let key = fields.key();
    assert!(cache.put(key, &served(&cache, &fields, 300, now), &caller(1), now));
    assert!(is_kept(&cache, &fields, now));
    let other = KeyFields { subject: Subject::new("bob"), ..fields.clone() };
    let others = cache.get(&key, &other, &caller(1), now);
    assert!(others.is_none(), "a digest that collides must not let anyone in");
    let elsewhere = KeyFields { exchange: [8; 32], ..fields.clone() };
    assert!(cache.get(&key, &elsewhere, &caller(1), now).is_none(), "nor anywhere");
    assert!(is_kept(&cache, &fields, now.after(Duration::from_secs(269))));
    assert!(!is_kept(&cache, &fields, now.after(Duration::from_secs(270))));
}

#[test]
fn an_entry_is_renewed_with_its_own_persons_token() {
    let cache = cache();
    let (fields, now) = (fields(), Now::read());
    let (key, ada) = (fields.key(), caller(1));
    cache.put(key, &served(&cache, &fields, 300, now), &ada, now);
    assert!(cache.newest(&key, &fields).is_some());
    let other = KeyFields { subject: Subject::new("bob"), ..fields.clone() };
    assert!(cache.newest(&key, &other).is_none(), "a digest that collides must not lend anybody's token");
}

#[test]
fn what_is_over_already_is_not_kept() {
    let cache = cache();
    let (fields, now) = (fields(), Now::read());
    let served = served(&cache, &fields, 30, now);
    assert!(cache.put(fields.key(), &served, &caller(1), now), "it is good for the call it is for");
    assert!(!is_kept(&cache, &fields, now));
}

#[test]
fn everybody_is_served_their_own_token_whether_it_is_ready_or_not() {
    let cache = CredentialCache::new(4 * 1_048_576, Arc::default());
    let now = Now::read();
    // Fewer than half of so many are ready.
    for number in 0..1_500 {
        let token = if number % 10 == 0 { format!("opaque-{number}") } else { token_of(number) };
        let served = issued(&cache, &person(number), &token, 300, now);
        assert!(cache.put(person(number).key(), &served, &caller(1), now));
    }
    for number in (0..1_500).chain(0..1_500) {
        let token = if number % 10 == 0 { format!("opaque-{number}") } else { token_of(number) };
        let fields = person(number);
        let served = cache.get(&fields.key(), &fields, &caller(1), now).expect("there is room for all");
        assert!(served.authorization == format!("Bearer {token}"), "{number}");
        assert!(served.authorization.is_sensitive());
        assert_eq!(served.note.token, sha256(token.as_bytes()), "{number}");
    }
}

#[test]
fn neither_many_small_tokens_nor_a_few_large_ones_fill_the_memory() {
    const BYTES_MAX: usize = 8 * 1_048_576;
    let metrics = Arc::<Metrics>::default();
    let cache = CredentialCache::new(BYTES_MAX, Arc::clone(&metrics));
    let now = Now::read();
    let held = || held(&cache);
    for number in 0..20_000 {
        cache.put(person(number).key(), &served(&cache, &person(number), 300, now), &caller(1), now);
    }
    assert!(held() <= BYTES_MAX, "{}", held());
    let kept = usize::try_from(metrics.cache_entries.get()).expect("no less than none");
    assert!((5_000..20_000).contains(&kept), "{kept}");
    let large = "t".repeat(60_000);
    for number in 0..500 {
        let served = issued(&cache, &person(number), &large, 300, now);
        cache.put(person(number).key(), &served, &caller(1), now);
    }
    assert!(held() <= BYTES_MAX, "{}", held());
    // Small ones stay beside them.
    let is_large = |number: &usize| {
        let found = cache.get(&person(*number).key(), &person(*number), &caller(1), now);
        found.is_some_and(|served| served.authorization.len() > large.len())
    };
    let large_ones = (0..500).filter(is_large).count();
    assert!((64..200).contains(&large_ones), "{large_ones}");
}

#[test]
fn what_is_made_ready_again_stays_within_the_bound() {
    const BYTES_MAX: usize = 4 * 1_048_576;
    let cache = CredentialCache::new(BYTES_MAX, Arc::default());
    let now = Now::read();
    for number in 0..5_000 {
        let served = issued(&cache, &person(number), &token_of(number), 300, now);
        cache.put(person(number).key(), &served, &caller(1), now);
    }
    for number in 0..5_000 {
        is_kept(&cache, &person(number), now);
        assert!(held(&cache) <= BYTES_MAX, "{number}: {}", held(&cache));
    }
}

#[test]
fn whoever_has_nothing_in_common_with_others_is_counted_for_all_of_it() {
    let kept = |of_their_own: bool| {
        let metrics = Arc::<Metrics>::default();
        let cache = CredentialCache::new(4 * 1_048_576, Arc::clone(&metrics));
        let now = Now::read();
        for number in 0..4_000 {
            let acr = of_their_own.then(|| number.to_string().into());
            let authentication = Arc::new(Authentication { acr, ..Authentication::default() });
            let fields = KeyFields { authentication, ..person(number) };
            let served = issued(&cache, &fields, &token_of(number), 300, now);
            cache.put(fields.key(), &served, &caller(1), now);
        }
        metrics.cache_entries.get()
    };
    let (alike, apart) = (kept(false), kept(true));
    assert!(apart * 3 < alike, "{apart} of {alike}");
}

#[test]
fn a_bound_that_is_lowered_holds_at_once_and_who_called_lately_stays() {
    let metrics = Arc::<Metrics>::default();
    let cache = CredentialCache::new(16 * 1_048_576, Arc::clone(&metrics));
    let now = Now::read();
    for number in 0..4_000 {
        let served = issued(&cache, &person(number), &token_of(number), 300, now);
        cache.put(person(number).key(), &served, &caller(1), now);
    }
    assert_eq!(metrics.cache_entries.get(), 4_000);
    cache.set_bytes_max(2 * 1_048_576);
    let before = metrics.cache_entries.get();
    assert!((600..3_000).contains(&before), "{before}");
    // Whoever calls again and again stays, while others come and go.
    let regular = person(4_000);
    cache.put(regular.key(), &issued(&cache, &regular, &token_of(4_000), 300, now), &caller(1), now);
    for number in 5_000..10_000 {
        let served = issued(&cache, &person(number), &token_of(number), 300, now);
        cache.put(person(number).key(), &served, &caller(1), now);
        if number % 100 == 0 {
            assert!(is_kept(&cache, &regular, now), "{number}");
        }
    }
}

#[test]
fn what_is_over_goes_while_others_come() {
    let metrics = Arc::<Metrics>::default();
    let cache = CredentialCache::new(CACHE_BYTES_MAX, Arc::clone(&metrics));
    let now = Now::read();
    let put = |number, now| {
        cache.put(person(number).key(), &served(&cache, &person(number), 300, now), &caller(1), now)
    };
    assert!((0..2_000).all(|number| put(number, now)));
    let later = now.after(Duration::from_secs(271));
    assert!((2_000..4_000).all(|number| put(number, later)));
    let kept = metrics.cache_entries.get();
    assert!((2_000..2_100).contains(&kept), "{kept}");
}

#[test]
fn only_the_entry_that_was_turned_away_is_evicted() {
    let cache = cache();
    let (fields, now) = (fields(), Now::read());
    let (key, old, new) =
        (fields.key(), served(&cache, &fields, 300, now), served(&cache, &fields, 300, now));
    cache.put(key, &new, &caller(1), now);
    cache.evict(&key, &old.entry);
    assert!(is_kept(&cache, &fields, now));
    cache.evict(&key, &new.entry);
    assert!(!is_kept(&cache, &fields, now));
}

#[test]
fn whoever_is_forgotten_loses_what_is_kept_and_what_is_on_its_way() {
    let metrics = Arc::<Metrics>::default();
    let cache = CredentialCache::new(CACHE_BYTES_MAX, Arc::clone(&metrics));
    let (ada, now) = (fields(), Now::read());
    let bob = KeyFields { subject: Subject::new("bob"), ..fields() };
    for fields in [&ada, &bob] {
        cache.put(fields.key(), &served(&cache, fields, 300, now), &caller(1), now);
    }
    let on_its_way = served(&cache, &ada, 300, now);
    let person = Person { realm: Realm::Tenant("t-1".into()), subject: Subject::new("ada") };
    let later = now.after(Duration::from_secs(1));
    assert_eq!(cache.forget(&person, later), 1);
    assert!(!is_kept(&cache, &ada, later));
    assert!(is_kept(&cache, &bob, later));
    assert!(!cache.put(ada.key(), &on_its_way, &caller(1), later), "it was asked for before");
    assert!(!is_kept(&cache, &ada, later));
    let even_later = later.after(Duration::from_secs(1));
    assert!(cache.put(ada.key(), &served(&cache, &ada, 300, even_later), &caller(1), even_later));
    assert_eq!(metrics.cache_entries.get(), 2);
}

#[test]
fn an_entry_in_use_is_renewed_once_from_three_quarters_of_its_life_on() {
    let (cache, now) = (cache(), Now::read());
    let (fields, at) = (fields(), |seconds| now.after(Duration::from_secs(seconds)));
    let key = fields.key();
    cache.put(key, &served(&cache, &fields, 1_030, now), &caller(1), now);
    let callers: Vec<_> = (0..6).map(caller).collect();
    let used_by = |expires_at: usize, now| {
        let served = cache.get(&key, &fields, &callers[expires_at], now).expect("it is kept");
        served
            .entry
            .is_to_be_renewed(now)
            .then(|| cache.newest(&key, &fields).expect("it is in use").expires_at())
    };
    assert_eq!(used_by(1, at(699)), None);
    assert_eq!(used_by(5, at(801)), Some(5));
    assert_eq!(used_by(5, at(802)), None, "somebody renews it already");
    assert_eq!(used_by(3, at(801 + 31)), Some(5), "the token that lives longest");
}
