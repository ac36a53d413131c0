/**
 * Real Nacos servers. Their makers publish archives on a site and parts on Maven Central; two rebuilds of the whole are published there as
 * well, and lack only a main class, which is written here. Needs a JDK from 17 on and mvn; takes about a minute.
 */
import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { cached } from "./tools.ts";

const run = promisify(execFile);

/** A generation of Nacos. 2 is limited to ephemeral instances here: its rebuild has no Raft group. */
export type NacosGeneration = 2 | 3;

interface Recipe {
  readonly dependencies: string;
  readonly management?: string;
  readonly java: string;
  /** Name of the file and class. */
  readonly file: string;
}

const dependency = (group: string, artifact: string, version: string, more = "") =>
  `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version>${more}</dependency>`;
const exclusion = (group: string, artifact: string) =>
  `<exclusion><groupId>${group}</groupId><artifactId>${artifact}</artifactId></exclusion>`;

const recipes: Record<NacosGeneration, Recipe> = {
  3: {
    dependencies:
      dependency("com.caucho", "hessian", "4.0.63") +
      dependency(
        "io.github.pig-mesh.nacos",
        "nacos-server",
        "3.1.0-bugfix",
        `<exclusions>${exclusion("io.github.pig-mesh.nacos", "nacos-istio")}${exclusion("com.mysql", "mysql-connector-j")}</exclusions>`,
      ),
    file: "RunNacos",
    // The order in which a server without console starts its two halves.
    java: `
import com.alibaba.nacos.NacosServerBasicApplication;
import com.alibaba.nacos.NacosServerWebApplication;
import com.alibaba.nacos.core.listener.startup.*;
import com.alibaba.nacos.sys.env.*;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.builder.SpringApplicationBuilder;
public class RunNacos {
  public static void main(String[] args) {
    EnvUtil.setDeploymentType(DeploymentType.getType("server"));
    NacosStartUpManager.start(NacosStartUp.CORE_START_UP_PHASE);
    var core = new SpringApplicationBuilder(NacosServerBasicApplication.class).web(WebApplicationType.NONE).run(args);
    NacosStartUpManager.start(NacosStartUp.WEB_START_UP_PHASE);
    new SpringApplicationBuilder(NacosServerWebApplication.class).parent(core).run(args);
  }
}`,
  },
  2: {
    management: dependency(
      "org.springframework.boot",
      "spring-boot-dependencies",
      "2.6.14",
      "<type>pom</type><scope>import</scope>",
    ),
    dependencies: ["nacos-naming", "nacos-config", "nacos-plugin-default-impl"]
      .map((artifact) => dependency("io.springboot.nacos", artifact, "2.2.4-OEM"))
      .join(""),
    file: "RunNacos2",
    // The console, which is not published, fills the methods cache; without it the servers' own filter refuses requests.
    java: `
package com.alibaba.nacos;
import com.alibaba.nacos.core.code.ControllerMethodsCache;
import javax.annotation.PostConstruct;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.*;
import org.springframework.boot.context.TypeExcludeFilter;
import org.springframework.boot.web.servlet.ServletComponentScan;
import org.springframework.context.annotation.*;
import org.springframework.scheduling.annotation.EnableScheduling;
@SpringBootApplication
@ComponentScan(basePackages = "com.alibaba.nacos", excludeFilters = {
  @ComponentScan.Filter(type = FilterType.CUSTOM, classes = TypeExcludeFilter.class),
  @ComponentScan.Filter(type = FilterType.CUSTOM, classes = AutoConfigurationExcludeFilter.class)})
@ServletComponentScan
@EnableScheduling
public class RunNacos2 {
  @Autowired private ControllerMethodsCache methods;
  @PostConstruct public void fill() {
    for (String part : new String[] {"core", "naming", "config.server"})
      methods.initClassMethod("com.alibaba.nacos." + part + (part.equals("naming") ? ".controllers" : ".controller"));
  }
  public static void main(String[] args) { SpringApplication.run(RunNacos2.class, args); }
}`,
  },
};

/** The class path and main class of a Nacos server. */
export async function nacos(generation: NacosGeneration): Promise<{ classPath: string; main: string }> {
  const recipe = recipes[generation];
  const dir = await cached(`nacos-${generation}`, (to) => install(recipe, to));
  const main = generation === 3 ? recipe.file : `com.alibaba.nacos.${recipe.file}`;
  // First: an older hessian among the jars must not win.
  const first = join(dir, "lib/hessian-4.0.63.jar");
  return { classPath: `${join(dir, "classes")}:${first}:${join(dir, "lib")}/*`, main };
}

async function install({ dependencies, management = "", java, file }: Recipe, to: string): Promise<void> {
  for (const folder of ["src", "classes"]) await mkdir(join(to, folder));
  await writeFile(
    join(to, "pom.xml"),
    `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local.interop</groupId><artifactId>nacos-standalone</artifactId><version>1</version><packaging>pom</packaging>
<dependencyManagement><dependencies>${management}</dependencies></dependencyManagement>
<dependencies>${dependencies}</dependencies></project>\n`,
  );
  await writeFile(join(to, `src/${file}.java`), java);
  const plugin = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies";
  const args = ["-n", "10", "mvn", "-q", "-B", "-C", "-f", join(to, "pom.xml"), plugin];
  const options = [`-DoutputDirectory=${join(to, "lib")}`, "-DincludeScope=runtime"];
  await run("nice", [...args, ...options], { maxBuffer: 16 << 20 });
  const sources = join(to, `src/${file}.java`);
  await run("javac", ["-nowarn", "-proc:none", "-cp", `${join(to, "lib")}/*`, "-d", join(to, "classes"), sources]);
}
