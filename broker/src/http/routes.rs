//! The table of pages: a router that can tell what it serves.
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{self, MethodRouter};

use super::Pages;

/// What one path answers to. Made by [`get`] and its like, which chain.
pub(super) struct Page {
    methods: Vec<Method>,
    router: MethodRouter<Pages>,
}

/// A path with the methods it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) path: String,
    pub(super) methods: Vec<Method>,
}

/// Paths and their pages.
pub(super) struct Routes {
    router: Router<Pages>,
    listed: Vec<Listed>,
}

macro_rules! methods {
    ($($name:ident $method:ident),*) => {
        impl Page {
            $(pub(super) fn $name<H: Handler<T, Pages>, T: 'static>(mut self, handler: H) -> Self {
                self.methods.push(Method::$method);
                Self { router: self.router.$name(handler), ..self }
            })*
        }
        $(pub(super) fn $name<H: Handler<T, Pages>, T: 'static>(handler: H) -> Page {
            Page { methods: Vec::new(), router: MethodRouter::new() }.$name(handler)
        })*
    };
}
methods! { get GET, put PUT, post POST, delete DELETE }

/// Refuses, whatever the method: no page of its own.
pub(super) fn any<H: Handler<T, Pages>, T: 'static>(handler: H) -> Page {
    Page { methods: Vec::new(), router: routing::any(handler) }
}

impl Page {
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.methods.extend(other.methods);
        Self { router: self.router.merge(other.router), ..self }
    }
}

impl Routes {
    pub(super) fn new() -> Self {
        Self { router: Router::new(), listed: Vec::new() }
    }

    pub(super) fn route(mut self, path: &str, page: Page) -> Self {
        if !page.methods.is_empty() {
            self.listed.push(Listed { path: path.into(), methods: page.methods });
        }
        Self { router: self.router.route(path, page.router), ..self }
    }

    pub(super) fn merge(mut self, other: Self) -> Self {
        self.listed.extend(other.listed);
        Self { router: self.router.merge(other.router), ..self }
    }

    pub(super) fn nest(mut self, prefix: &str, other: Self) -> Self {
        let below = |path: &str| if path == "/" { prefix.to_owned() } else { format!("{prefix}{path}") };
        self.listed
            .extend(other.listed.iter().map(|one| Listed { path: below(&one.path), methods: one.methods.clone() }));
        Self { router: self.router.nest(prefix, other.router), ..self }
    }

    /// The same pages about something else.
    pub(super) fn about(self, pages: Pages) -> Self {
        Self { router: self.router.with_state(pages), ..self }
    }

    /// All paths, in the order in which they were put in. One that stands twice has different methods.
    pub(super) fn listed(&self) -> &[Listed] {
        &self.listed
    }

    pub(super) fn into_router(self) -> Router<Pages> {
        self.router
    }
}
