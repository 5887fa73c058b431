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

/// Paths and their pages, in the order in which they were put in. The router is made once, of all of them: each that is merged into
/// another one is built again, and leaves holes in the memory.
pub(super) struct Routes(Vec<(String, Page)>);

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
        Self(Vec::new())
    }

    pub(super) fn route(mut self, path: &str, page: Page) -> Self {
        self.0.push((path.into(), page));
        self
    }

    pub(super) fn merge(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(super) fn nest(mut self, prefix: &str, other: Self) -> Self {
        let below = |path: &str| if path == "/" { prefix.to_owned() } else { format!("{prefix}{path}") };
        self.0.extend(other.0.into_iter().map(|(path, page)| (below(&path), page)));
        self
    }

    /// The same pages about something else.
    pub(super) fn about(self, pages: &Pages) -> Self {
        let about = |page: Page| Page { router: page.router.with_state(pages.clone()), ..page };
        Self(self.0.into_iter().map(|(path, page)| (path, about(page))).collect())
    }

    /// Paths with methods of their own. One that stands twice has different methods.
    pub(super) fn listed(&self) -> Vec<Listed> {
        let of_their_own = self.0.iter().filter(|(_, page)| !page.methods.is_empty());
        of_their_own.map(|(path, page)| Listed { path: path.clone(), methods: page.methods.clone() }).collect()
    }

    pub(super) fn into_router(self) -> Router<Pages> {
        self.0.into_iter().fold(Router::new(), |router, (path, page)| router.route(&path, page.router))
    }
}
